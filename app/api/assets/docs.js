SwaggerUIBundle({
  // The address is relative, so that it is also right below a path of a larger site.
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The badge would ask a public validator about this document.
  validatorUrl: null,
});
