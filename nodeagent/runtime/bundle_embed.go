//go:build bundle

package runtime

import (
	_ "embed"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:embed bundle/bundle.tar.zst
var bundleArchive string

//go:embed bundle/bundle.tar.zst.sha256
var bundleDigest string

// embeddedBundle returns the runtime this binary carries, and its SHA-256.
func embeddedBundle() (archive, digest string) {
	return bundleArchive, strings.TrimSpace(bundleDigest)
}

// releaseBundle gives back the memory that reading the archive brought in. The
// pages are read-only and backed by the executable: a later read fetches them
// again.
func releaseBundle() {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.StringData(bundleArchive)))
	skip := (page - start%page) % page
	if uintptr(len(bundleArchive)) < skip+page {
		return
	}
	length := (uintptr(len(bundleArchive)) - skip) / page * page
	pages := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(bundleArchive)), skip)), length)
	// Advice only: on failure the pages stay until the kernel wants them.
	_ = unix.Madvise(pages, unix.MADV_DONTNEED)
}
