// Package serviceaccount holds the controllers of service-account tokens in
// Secrets, the way before the TokenRequest API: they are filled in, deleted with
// their account, and those that nobody uses are taken back.
package serviceaccount
