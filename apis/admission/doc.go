// Package admission holds the admission plugins, one per file, and their order.
// A plugin gets all it needs from its constructor; none is registered globally.
package admission
