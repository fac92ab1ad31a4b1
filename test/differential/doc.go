// Command differential starts upstream's kube-apiserver beside ours, each on an
// etcd of its own and in equal configuration, and sends both the same requests.
//
//	make differential                    # from the repository: 20,000 cases, seed 1
//	make differential SEED=7 N=40000
//	go run . -kind pods -n 3000          # one kind, here; also -kind apps/deployments
//	go run . -kind pods -case create     # of one category
//	go run . -kind pods -field '^spec.volumes' -n 0  # every case that changes these fields
//	go run . -kind pods -id 1f0c5a7e     # one case, with both answers whole
//
// Programs are taken from ../../bin (or PROA_BIN): proa, tools/etcd and
// tools/kube-apiserver (`make build upstream tools`). Reports go to -out (default
// /tmp/proa-differential): summary.txt, and report/<group>.<resource>.txt with the differences
// grouped by their cause.
//
// Cases come from four corpora: testdata/ has valid objects rich in fields, one
// file per kind; k8s.io/api has an object of every kind with every field filled;
// the k8s.io/kubernetes module has upstream's manifests; and the grafts, which
// put a filled object's fields into a valid one. Of each, mutations of a single
// field are made (mutate.go). They are sent as
//
//   - create: server-side dry run, in namespace "diff";
//   - update, status: PUT to an object that exists (namespace "live"), dry run;
//   - json-patch, merge-patch, strategic-patch, apply: the same as patches;
//   - sub: scale, binding, eviction, token, approval and other subresources;
//   - read: lists, selectors, watches, tables, partial metadata;
//   - delete: preconditions, propagation, collections; dry run.
//
// Status code, reason, the causes' fields and reasons, warnings and the object
// (without what must differ, see normalise.go) are compared; a message that
// differs is counted apart. What differs with good reason is in allow.yaml.
package main
