package env

import (
	"strings"
	"unicode/utf8"
)

// Expand replaces the references $(NAME) in input by lookup's answer.
// "$$" stands for one "$" and protects what follows; a reference that lookup
// does not know, and anything that is not a complete reference, is left as it
// was written.
// See https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/.
func Expand(input string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(input, "$") {
		return input
	}
	var out strings.Builder
	out.Grow(len(input))
	for i := 0; i < len(input); {
		if input[i] != '$' || i+1 == len(input) {
			out.WriteByte(input[i])
			i++
			continue
		}
		rest := input[i+1:]
		switch rest[0] {
		case '$':
			out.WriteByte('$')
			i += 2
		case '(':
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				out.WriteString("$(")
				i += 2
				continue
			}
			name := rest[1:end]
			if value, ok := lookup(name); ok {
				out.WriteString(value)
			} else {
				out.WriteString("$(" + name + ")")
			}
			i += 1 + end + 1
		default:
			_, size := utf8.DecodeRuneInString(rest)
			out.WriteString(input[i : i+1+size])
			i += 1 + size
		}
	}
	return out.String()
}

// Lookup returns a lookup for Expand that asks each map in turn.
func Lookup(maps ...map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, m := range maps {
			if v, ok := m[name]; ok {
				return v, true
			}
		}
		return "", false
	}
}
