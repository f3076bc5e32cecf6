"use strict";

window.ui = SwaggerUIBundle({
  url: "../schema/?format=json",
  dom_id: "#ui",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  syntaxHighlight: { activated: true, theme: "agate" },
});
