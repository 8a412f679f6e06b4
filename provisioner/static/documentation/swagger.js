const page = document.getElementById("swagger-ui");
SwaggerUIBundle({ url: page.dataset.schema, domNode: page, docExpansion: "none", filter: true });
