package server

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/utils/clock"
)

// nodeReader reads the node's own numbers from the proc filesystem.
type nodeReader struct {
	proc  string
	clock clock.PassiveClock

	mu     sync.Mutex
	before cpuSample // an earlier reading, to tell the rate
	latest cpuSample
}

type cpuSample struct {
	at    time.Time
	nanos uint64
}

// jiffy is the unit of /proc/stat; user space always sees 100 per second.
const jiffy = uint64(10 * time.Millisecond)

func newNodeReader(proc string, c clock.PassiveClock) *nodeReader {
	return &nodeReader{proc: proc, clock: c}
}

// node returns the node's numbers. What cannot be read is left out and named
// in the error.
func (n *nodeReader) node(name, rootDir string) (stats.NodeStats, error) {
	out := stats.NodeStats{NodeName: name}
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	out.CPU, out.StartTime, err = n.cpu()
	note(err)
	out.Memory, out.Swap, err = n.memory()
	note(err)
	out.Network, err = n.network()
	note(err)
	out.Fs, err = filesystem(rootDir, n.clock.Now())
	note(err)
	out.Rlimit = n.rlimit()
	return out, errors.Join(errs...)
}

func (n *nodeReader) cpu() (*stats.CPUStats, metav1.Time, error) {
	var boot metav1.Time
	nanos, seen := uint64(0), false
	err := n.lines("stat", func(f []string) {
		switch f[0] {
		case "cpu":
			// user nice system idle iowait irq softirq steal; guest time is in user.
			for i, v := range f[1:min(len(f), 9)] {
				if i != 3 && i != 4 {
					nanos += number(v) * jiffy
				}
			}
			seen = true
		case "btime":
			boot = metav1.Unix(int64(number(f[1])), 0)
		}
	})
	if err != nil || !seen {
		return nil, boot, errors.Join(err, notSeen(seen, "stat", "cpu"))
	}
	now := n.clock.Now()
	return &stats.CPUStats{Time: metav1.NewTime(now), UsageCoreNanoSeconds: &nanos, UsageNanoCores: n.rate(cpuSample{now, nanos})}, boot, nil
}

// rate returns nanoseconds of CPU per second since an earlier reading, nil
// for the first. Readings in quick succession are compared with the same
// earlier one.
func (n *nodeReader) rate(now cpuSample) *uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.latest.at.IsZero() {
		n.latest = now
		return nil
	}
	if now.at.Sub(n.latest.at) >= time.Second {
		n.before, n.latest = n.latest, now
	}
	if n.before.at.IsZero() || now.nanos < n.before.nanos || !now.at.After(n.before.at) {
		return nil
	}
	rate := uint64(float64(now.nanos-n.before.nanos) / now.at.Sub(n.before.at).Seconds())
	return &rate
}

func (n *nodeReader) memory() (*stats.MemoryStats, *stats.SwapStats, error) {
	kib := map[string]uint64{}
	if err := n.lines("meminfo", func(f []string) {
		if len(f) > 1 {
			kib[strings.TrimSuffix(f[0], ":")] = number(f[1])
		}
	}); err != nil {
		return nil, nil, err
	}
	total, free, ok := kib["MemTotal"], kib["MemFree"], kib["MemTotal"] > 0
	if !ok {
		return nil, nil, notSeen(false, "meminfo", "MemTotal")
	}
	// As for cgroups: what is used less the file cache that may go at once.
	usage := (total - min(free, total)) << 10
	working := usage - min(kib["Inactive(file)"]<<10, usage)
	available := total<<10 - working
	rss := kib["AnonPages"] << 10
	now := metav1.NewTime(n.clock.Now())
	memory := &stats.MemoryStats{Time: now, UsageBytes: &usage, WorkingSetBytes: &working, AvailableBytes: &available, RSSBytes: &rss}
	swapFree := kib["SwapFree"] << 10
	swapUsed := kib["SwapTotal"]<<10 - min(swapFree, kib["SwapTotal"]<<10)
	return memory, &stats.SwapStats{Time: now, SwapAvailableBytes: &swapFree, SwapUsageBytes: &swapUsed}, nil
}

// network lists the interfaces that are not pods', the one with the default
// route first of all.
func (n *nodeReader) network() (*stats.NetworkStats, error) {
	out := &stats.NetworkStats{Time: metav1.NewTime(n.clock.Now())}
	if err := n.lines("net/dev", func(f []string) {
		name, ok := strings.CutSuffix(f[0], ":")
		if !ok || len(f) < 12 || name == "lo" || strings.HasPrefix(name, "veth") {
			return
		}
		rx, rxErrors, tx, txErrors := number(f[1]), number(f[3]), number(f[9]), number(f[11])
		out.Interfaces = append(out.Interfaces, stats.InterfaceStats{Name: name, RxBytes: &rx, RxErrors: &rxErrors, TxBytes: &tx, TxErrors: &txErrors})
	}); err != nil {
		return nil, err
	}
	var main string
	_ = n.lines("net/route", func(f []string) { // absent where there is no IPv4
		if len(f) > 1 && f[1] == "00000000" && main == "" {
			main = f[0]
		}
	})
	for _, i := range out.Interfaces {
		if i.Name == main {
			out.InterfaceStats = i
		}
	}
	return out, nil
}

func (n *nodeReader) rlimit() *stats.RlimitStats {
	out := &stats.RlimitStats{Time: metav1.NewTime(n.clock.Now())}
	if text, err := os.ReadFile(filepath.Join(n.proc, "sys/kernel/pid_max")); err == nil {
		v := int64(number(strings.TrimSpace(string(text))))
		out.MaxPID = &v
	}
	// The fourth field of loadavg is runnable/existing threads.
	_ = n.lines("loadavg", func(f []string) {
		if len(f) > 3 {
			_, all, _ := strings.Cut(f[3], "/")
			v := int64(number(all))
			out.NumOfRunningProcesses = &v
		}
	})
	return out
}

// filesystem returns the numbers of the filesystem that holds path.
func filesystem(path string, now time.Time) (*stats.FsStats, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return nil, fmt.Errorf("looking at the filesystem of %s: %w", path, err)
	}
	size := uint64(s.Bsize)
	available, capacity, used := s.Bavail*size, s.Blocks*size, (s.Blocks-s.Bfree)*size
	inodes, free, inodesUsed := s.Files, s.Ffree, s.Files-s.Ffree
	return &stats.FsStats{
		Time: metav1.NewTime(now), AvailableBytes: &available, CapacityBytes: &capacity, UsedBytes: &used,
		Inodes: &inodes, InodesFree: &free, InodesUsed: &inodesUsed,
	}, nil
}

// lines gives the fields of each line of a file below /proc that has any.
func (n *nodeReader) lines(file string, each func(fields []string)) error {
	f, err := os.Open(filepath.Join(n.proc, file))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20) // the intr line of stat is long
	for scanner.Scan() {
		// An interface's name may stick to its first number.
		if fields := strings.Fields(strings.Replace(scanner.Text(), ":", ": ", 1)); len(fields) > 0 {
			each(fields)
		}
	}
	return scanner.Err()
}

func number(text string) uint64 {
	v, _ := strconv.ParseUint(text, 10, 64)
	return v
}

func notSeen(seen bool, file, what string) error {
	if seen {
		return nil
	}
	return fmt.Errorf("/proc/%s has no %s", file, what)
}
