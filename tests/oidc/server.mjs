// An OpenID Connect server for the tests: client credentials, JWT access tokens, keys that rotate.
// Prints its port. POST /test/rotate gives it a new signing key: ?drop=1 forgets the former ones.
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import http from 'node:http'
import Provider from 'oidc-provider'

const AUDIENCE = 'urn:provisioner'
const CLIENTS = {
  'the-provisioner': { resource_access: { 'prov-resource': { roles: ['ADMIN'] } } },
  'the-nodes': { resource_access: { 'nodes-resource': { roles: ['ADMIN'] } } },
  'a-monitor': { resource_access: { 'prov-resource': { roles: ['MONITOR', 'uma_protection'] } } },
  'a-storage-client': {
    tenant: 't1', resource_access: { 'prov-resource': { roles: ['STORAGE'] } }
  },
  'an-adfs-monitor': { roles: 'MONITOR' },
  'a-stranger': {}
}

const newKey = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(), use: 'sig', alg: 'RS256'
})

const makeProvider = (issuer, keys) => new Provider(issuer, {
  jwks: { keys },
  clients: Object.keys(CLIENTS).map((id) => ({
    client_id: id,
    client_secret: `secret of ${id}`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_post',
    scope: 'storage'
  })),
  scopes: ['storage'],
  extraTokenClaims: (ctx, token) => CLIENTS[token.clientId],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: () => ({
        scope: 'storage',
        audience: AUDIENCE,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'RS256' } }
      })
    }
  }
})

let keys = [newKey()]
let handle
const server = http.createServer((request, response) => {
  if (!request.url.startsWith('/test/rotate')) return handle(request, response)
  keys = [newKey(), ...(request.url.includes('drop=1') ? [] : keys)]
  handle = makeProvider(issuer, keys).callback()
  response.end()
})
let issuer
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`
  handle = makeProvider(issuer, keys).callback()
  console.log(server.address().port)
})
