// Package certificates holds the controllers of CertificateSigningRequests: one
// approves what nodes ask for themselves, one signs what is approved, one
// deletes what is old. Their decisions are functions of the request.
package certificates
