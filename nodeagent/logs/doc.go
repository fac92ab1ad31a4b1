// Package logs reads and rotates container logs: the files that the runtime
// writes below /var/log/pods, one line per record in the CRI format
//
//	2016-10-06T00:17:09.669794202Z stdout F the text
//
// with P in place of F where the line goes on in the next record. See
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md.
package logs
