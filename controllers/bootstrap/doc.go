// Package bootstrap holds the controllers of what a cluster starts with: expired
// bootstrap tokens are deleted, aggregated cluster roles get their rules.
package bootstrap
