// Package authn tells who sends a request: client certificates (verified once
// and remembered), service-account tokens (signed here, checked against the live
// objects they are bound to), bootstrap tokens, the in-process loopback tokens
// and the aggregator's request headers; anonymous only where asked. It also
// issues service-account tokens and serves the issuer's discovery documents.
package authn
