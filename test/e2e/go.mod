// The end-to-end tests drive the built binary with real kubectl and Helm, so
// they need nothing but the standard library.
module proa/test/e2e

go 1.26.0
