"use strict";
window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: "../openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    requestInterceptor: (request) => {
      if (["POST", "PUT", "PATCH"].includes(request.method)) {
        request.headers["Content-Type"] = "application/json";
      }
      return request;
    },
  });
};
