// Package api is the contract of OpenWay Access, API v1: the OpenAPI document, the bodies on the wire as Go types, and a small client.
//
// It is the only public package, imports nothing of this module, and changes only in ways that clients in the field survive:
// fields and reasons are added, never renamed or taken away.
package api
