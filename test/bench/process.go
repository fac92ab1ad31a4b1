package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// start measures exec to ready, and to the first pod Running.
func start(ctx context.Context, b *bench) ([]figure, error) {
	var readies []float64
	for range 3 {
		c, err := b.start(ctx, "--no-node")
		if err != nil {
			return nil, err
		}
		readies = append(readies, c.ready.Seconds())
		b.close()
	}
	c, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	if _, err := runPod(ctx, client, "first"); err != nil {
		return nil, err
	}
	first := time.Since(c.begun).Seconds()
	note := ""
	if b.hasUpstream() {
		b.close()
		u, err := b.startUpstream(ctx)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		note = "; " + ratio(median(readies), u.ready.Seconds(), "s")
	}
	return []figure{
		{"start to ready, etcd included", "s", "≤ 2 s", median(readies), fmt.Sprintf("%d starts on empty data directories%s", len(readies), note)},
		{"start to first pod Running", "s", "≤ 6 s", first, "empty data directory, runtime unpacked, image imported"},
	}, nil
}

// idle measures memory and CPU of the one process without pods.
func idle(ctx context.Context, b *bench) ([]figure, error) {
	c, err := b.start(ctx, "--no-node")
	if err != nil {
		return nil, err
	}
	const settle, window = 20 * time.Second, 60 * time.Second
	time.Sleep(settle)
	before, err := cpuTime(c.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	time.Sleep(window)
	after, err := cpuTime(c.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	rss, err := rssBytes(c.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"idle RSS of the one process", "MB", "≤ 220 MB", float64(rss) / 1e6, "0 pods, no containerd"},
		{"idle CPU", "% of a core", "≤ 3%", 100 * (after - before).Seconds() / window.Seconds(), fmt.Sprintf("over %s", window)},
	}, nil
}

func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %s", pid, b)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil // USER_HZ is 100
}

func rssBytes(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
