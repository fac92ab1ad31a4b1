package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseStartup gives back the memory that only start-up needed: the garbage
// of the heap, and the pages of the program's own code and constants, most of
// which are initialization. The kernel reads back what is used again.
func releaseStartup() {
	debug.FreeOSMemory()
	exe, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer func() { _ = maps.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var begin, end uintptr
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &begin, &end, &mode); err != nil {
			continue
		}
		// Only what cannot have been written to is sure to be in the file.
		if strings.HasSuffix(lines.Text(), " "+exe) && strings.HasPrefix(mode, "r") && mode[1] == '-' {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_DONTNEED)
		}
	}
}
