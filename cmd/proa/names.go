package main

import "context"

// runAs makes the binary, called by another program's name, that program.
func runAs(ctx context.Context, name string, args []string) (code int, ok bool) {
	switch name {
	case "kubectl":
		return kubectl(ctx, args), true
	}
	return 0, false
}
