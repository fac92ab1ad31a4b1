// Package image holds what the node agent knows of images beyond the CRI
// calls themselves: full names, which registry credentials fit an image, and
// when unused images are removed to free the disk.
package image
