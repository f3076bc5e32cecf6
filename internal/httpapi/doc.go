// Package httpapi speaks API v1 over HTTP: it reads bodies, asks the gatekeeper and the registry, and writes answers in the shapes of the
// wire contract (api/openapi.yaml), in English or Russian.
//
// It imports gatekeeper, registry, throttle, access and api. Request ids, client addresses, CORS, allowed hosts, health and the access log
// are the server's: requests arrive with r.RemoteAddr = "ip:port" of the client and an X-Request-Id that may be trusted.
//
// It promises that a route which is not marked public answers 401 to anyone without a good token, whatever the method and the body;
// that no body makes it panic or answer 500; and that no token or password reaches a log.
package httpapi
