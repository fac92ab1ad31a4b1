package main

import (
	"fmt"
	"strings"
)

// Media types that change what a read answers.
const (
	tableMedia   = "application/json;as=Table;v=v1;g=meta.k8s.io"
	partialMedia = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
	partialList  = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
)

// reads are lists, gets and watches.
func (b *builder) reads(r *resource) {
	add := func(url, what string, accept string) {
		t := &testCase{kind: r.id(), category: "read", what: what, method: "GET", url: url}
		if accept != "" {
			t.header = map[string]string{"Accept": accept}
			t.what += " " + accept
		}
		if what != "list" {
			t.group = strings.SplitN(what, "=", 2)[0]
		}
		b.add(t)
	}
	collection := r.collection("live")
	list := func(query, accept string) {
		what := "list"
		if query != "" {
			what = query
		}
		add(collection+"?"+query, what, accept)
	}
	for _, accept := range []string{"", tableMedia, partialList, tableMedia + ",application/json"} {
		list("", accept)
		list("resourceVersion=0", accept)
		list("limit=1", accept)
	}
	for _, q := range []string{"includeObject=Object", "includeObject=None", "includeObject=Metadata", "includeObject=bad"} {
		list(q, tableMedia)
	}
	for _, accept := range []string{"application/json;as=Table;v=v2;g=meta.k8s.io", "application/json;as=Nothing;v=v1;g=meta.k8s.io", "text/plain", "*/*",
		partialMedia, "application/json;as=Table;v=v1beta1;g=meta.k8s.io", "application/json;as=Table;v=v1;g=other"} {
		list("", accept)
	}
	for _, q := range readQueries {
		list(q, "")
	}
	for _, label := range []string{"spec.nodeName", "status.phase", "spec.type", "type", "metadata.namespace", "spec.unschedulable", "involvedObject.name", "reason",
		"status.successful", "status.replicas", "spec.signerName", "spec.schedulerName", "status.nominatedNodeName", "spec.clusterIP", "involvedObject.kind", "source", "reportingComponent", "spec.nodeName", "spec.driver", "status.podIP", "spec.restartPolicy", "spec.hostNetwork", "spec.serviceAccountName"} {
		list("fieldSelector="+label+"%3Dx", "")
		list("fieldSelector="+label+"%21%3Dx", "")
	}
	for _, q := range watchQueries {
		add(collection+"?watch=true&"+q, "watch "+q, "")
	}
	add(collection+"?watch=true", "watch table", tableMedia)
	add(collection+"?watch=true", "watch partial", partialMedia)
	if r.namespaced {
		add(r.collection("")+"?fieldSelector=metadata.namespace%3Dlive", "all namespaces", "")
		add(r.collection("")+"?fieldSelector=metadata.namespace%3Dlive", "all namespaces", tableMedia)
		add(r.collection("nowhere"), "missing namespace", "")
	}
	if !r.can("get") {
		return
	}
	for f := range b.liveOf(r) {
		for _, accept := range []string{"", tableMedia, partialMedia, partialList, "application/json;as=Table;v=v2;g=meta.k8s.io", "application/yaml"} {
			add(f.url(), "list", accept)
		}
		for _, q := range []string{"resourceVersion=0", "resourceVersion=bad", "resourceVersion=99999999", "pretty=true", "resourceVersion=-1"} {
			add(f.url()+"?"+q, "get "+q, "")
		}
		add(collection+"?fieldSelector=metadata.name%3D"+f.name, "fieldSelector by name", "")
		add(collection+"?watch=true&fieldSelector=metadata.name%3D"+f.name, "watch by name", "")
		if r.has("status") {
			add(f.url()+"/status", "get status", "")
			add(f.url()+"/status", "get status", tableMedia)
		}
	}
	for _, accept := range []string{"", tableMedia, partialMedia} {
		add(r.one("live", "missing"), "get missing", accept)
		add(r.one("live", "Bad_Name"), "get bad name", accept)
	}
	add(r.one("nowhere", "missing"), "get in missing namespace", "")
}

var readQueries = []string{
	"limit=0", "limit=-1", "limit=bad", "limit=1&continue=bad", "continue=bad", "limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
	"limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0&resourceVersion=5", "continue=eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6ImEifQ",
	"labelSelector=a%3Db", "labelSelector=app%3Dbase", "labelSelector=app+in+(base,x)", "labelSelector=!app", "labelSelector=app", "labelSelector=bad+selector+%3D%3D%3D",
	"labelSelector=a+in+()", "labelSelector=a%3E1", "labelSelector=a%3Ex", "labelSelector=%21%21a", "labelSelector=-bad-%3Db", "labelSelector=a%3D-b-", "labelSelector=app+notin+(base)",
	"fieldSelector=metadata.name%3Dx", "fieldSelector=metadata.name%3D%3Dx", "fieldSelector=metadata.name%21%3Dx", "fieldSelector=bad%3Dx", "fieldSelector=bad", "fieldSelector=%3Dx",
	"fieldSelector=metadata.namespace%3Dother", "fieldSelector=metadata.namespace%3Dlive", "fieldSelector=metadata.labels%3Dx", "fieldSelector=metadata.name%3Dx,metadata.name%3Dy", "fieldSelector=,",
	"resourceVersion=bad", "resourceVersion=-1", "resourceVersion=1", "resourceVersion=99999999&timeoutSeconds=1", "resourceVersion=0&limit=1", "resourceVersion=1&limit=1",
	"resourceVersionMatch=Exact", "resourceVersionMatch=NotOlderThan", "resourceVersionMatch=bad", "resourceVersion=0&resourceVersionMatch=Exact", "resourceVersion=0&resourceVersionMatch=NotOlderThan",
	"resourceVersion=0&resourceVersionMatch=NotOlderThan&limit=1", "resourceVersion={rv}&resourceVersionMatch=Exact", "resourceVersion={rv}&resourceVersionMatch=Exact&limit=1", "resourceVersion={rv}&resourceVersionMatch=NotOlderThan",
	"resourceVersion={rv}&resourceVersionMatch=bad", "resourceVersion={rv}", "resourceVersion={rv}&limit=1", "resourceVersionMatch=Exact&continue=bad", "resourceVersion=1&resourceVersionMatch=Exact", "resourceVersion=99999999&resourceVersionMatch=Exact&timeoutSeconds=1",
	"timeoutSeconds=bad", "timeoutSeconds=-1", "allowWatchBookmarks=true", "allowWatchBookmarks=bad", "sendInitialEvents=true", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "sendInitialEvents=bad",
	"watch=bad", "pretty=true", "pretty=bad", "unknown=1", "limit=1&limit=2", "shardSelector=x",
}

var watchQueries = []string{
	"", "resourceVersion=0", "resourceVersion={rv}", "resourceVersion=bad", "resourceVersion=1", "resourceVersion=99999999", "resourceVersion=-1",
	"allowWatchBookmarks=true", "sendInitialEvents=true", "sendInitialEvents=false", "sendInitialEvents=true&allowWatchBookmarks=true",
	"sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
	"sendInitialEvents=false&resourceVersionMatch=NotOlderThan", "sendInitialEvents=true&resourceVersionMatch=Exact", "resourceVersionMatch=NotOlderThan", "resourceVersionMatch=Exact",
	"sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion={rv}&allowWatchBookmarks=true", "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion={rv}",
	"limit=1", "continue=bad", "labelSelector=app%3Dbase", "labelSelector=bad+%3D%3D%3D", "fieldSelector=bad%3Dx", "fieldSelector=metadata.name%3Dx", "timeoutSeconds=bad", "timeoutSeconds=1&labelSelector=none%3Dx",
}

// deletes are dry runs on live objects.
func (b *builder) deletes(r *resource) {
	// A body replaces the query, so each asks for the dry run itself or is no good.
	bodies := []string{"", `{"dryRun":["All"]}`, `{"dryRun":["Bad"]}`, `{"dryRun":["All","All"]}`, `{`, `[]`, `{"gracePeriodSeconds":"x"}`, `{"gracePeriodSeconds":1.5}`}
	for _, option := range []string{`"propagationPolicy":"Foreground"`, `"propagationPolicy":"Background"`, `"propagationPolicy":"Orphan"`, `"propagationPolicy":"Bad"`,
		`"orphanDependents":true`, `"orphanDependents":false`, `"orphanDependents":true,"propagationPolicy":"Orphan"`,
		`"gracePeriodSeconds":0`, `"gracePeriodSeconds":30`, `"gracePeriodSeconds":-1`,
		`"preconditions":{"uid":"x"}`, `"preconditions":{"uid":"{uid}"}`, `"preconditions":{"resourceVersion":"1"}`, `"preconditions":{"resourceVersion":"{rv}"}`,
		`"preconditions":{}`, `"preconditions":{"uid":"{uid}","resourceVersion":"1"}`, `"unknown":1`,
		`"kind":"DeleteOptions","apiVersion":"v1"`, `"kind":"DeleteOptions","apiVersion":"bad/v9"`, `"kind":"Pod","apiVersion":"v1"`, `"kind":"DeleteOptions","apiVersion":"meta.k8s.io/v1"`,
		`"ignoreStoreReadErrorWithClusterBreakingPotential":true`, `"kind":"DeleteOptions","apiVersion":"` + r.apiVersion() + `","propagationPolicy":"Foreground"`} {
		bodies = append(bodies, `{"dryRun":["All"],`+option+`}`)
	}
	add := func(f *ref, url, name, body string) {
		b.add(&testCase{kind: r.id(), category: "delete", what: name + " " + body, method: "DELETE", url: url, group: "d" + body,
			body: func(s *side) ([]byte, bool) {
				out := body
				if f != nil {
					o, ok := s.live[f.key()]
					if !ok {
						return nil, false
					}
					out = strings.NewReplacer("{uid}", text(o, "metadata", "uid"), "{rv}", text(o, "metadata", "resourceVersion")).Replace(body)
				}
				return []byte(out), true
			}})
	}
	for f := range b.liveOf(r) {
		for _, body := range bodies {
			add(&f, f.url()+"?dryRun=All", f.base.name, body)
		}
		for _, q := range []string{"dryRun=All&propagationPolicy=Foreground", "dryRun=All&gracePeriodSeconds=0", "dryRun=All&gracePeriodSeconds=bad", "dryRun=All&orphanDependents=true", "dryRun=bad", "dryRun=All&propagationPolicy=bad", "dryRun=All&dryRun=All"} {
			add(&f, f.url()+"?"+q, f.base.name+" "+q, "")
		}
	}
	add(nil, r.one("live", "missing")+"?dryRun=All", "missing", "")
	if r.can("deletecollection") {
		for _, q := range []string{"", "&labelSelector=app%3Dnone", "&labelSelector=bad+%3D%3D", "&fieldSelector=bad%3Dx", "&limit=1", "&resourceVersion=bad", "&propagationPolicy=bad", "&gracePeriodSeconds=0", "&fieldSelector=metadata.name%3Dmissing"} {
			collection := r.collection("live")
			if !r.namespaced && q != "" && !strings.Contains(q, "bad") && !strings.Contains(q, "none") && !strings.Contains(q, "missing") {
				continue
			}
			add(nil, collection+"?dryRun=All"+q, "collection"+q, "")
		}
		for _, body := range []string{`{"dryRun":["All"],"propagationPolicy":"Bad"}`, `{"dryRun":["All"],"gracePeriodSeconds":-1}`, `{`, `{"dryRun":["All"],"preconditions":{"uid":"x"}}`} {
			add(nil, r.collection("live")+"?dryRun=All&labelSelector=app%3Dnone", "collection "+fmt.Sprint(len(body)), body)
		}
	}
}
