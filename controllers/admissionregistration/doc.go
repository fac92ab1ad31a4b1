// Package admissionregistration holds the controllers of admission's own objects.
package admissionregistration
