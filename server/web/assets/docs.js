// The API's own description, rendered by Swagger UI, which is a script and no module.

window.SwaggerUIBundle({
  url: "/schema/openapi.json",
  domNode: document.getElementById("docs"),
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null, // its default sends the document to another host
});
