package main

import (
	"os"
	"path/filepath"
)

// defaultDataDir is /var/lib/proa for root, and below $XDG_DATA_HOME otherwise.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/proa"
	}
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "."
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "proa")
}
