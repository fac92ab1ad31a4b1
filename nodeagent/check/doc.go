// Package check is the preflight: what this host lacks to run proa, each lack
// with its mend. Gather asks the host; Judge, which does no I/O, draws the
// conclusions, so that every judgement has a table test.
//
// Gather tries things for real rather than look for names: it makes links and
// loads an nftables rule set in a network namespace that vanishes with the try,
// and mounts an overlay. Nothing of that stays on the host. Kernel modules that
// are missing (overlay, br_netfilter) it loads, so that a fresh machine, which
// has them on disk only, lacks nothing.
package check
