// Command nonewprivs prints the user it runs as. Its image has it set-user-id
// root: with no_new_privs that bit has no effect, and the output tells.
package main

import (
	"fmt"
	"os"
)

func main() { fmt.Printf("Effective uid: %d\n", os.Geteuid()) }
