package main

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// class is the kind of a difference.
type class string

// The classes, worst first. Of message, only the counting is asked.
const (
	same      class = "same"
	panics    class = "panic or 5xx"
	notServed class = "not served"
	accepts   class = "we accept what upstream refuses"
	refuses   class = "we refuse what upstream accepts"
	codes     class = "code or reason differs"
	causes    class = "causes differ"
	objects   class = "object differs"
	warns     class = "warnings differ"
	messages  class = "only the message differs"
	allowed   class = "allowed"
	// unsent cases are made of a live object that one side refused to create.
	unsent class = "not sent"
)

var classes = []class{panics, accepts, refuses, notServed, codes, causes, objects, warns, messages, allowed}

// verdict is the outcome of one case.
type verdict struct {
	class class
	// signature groups verdicts that probably have one cause.
	signature string
	// detail says what differs, line by line.
	detail []string
}

var indices = regexp.MustCompile(`\[\d+\]`)

func generalise(s string) string { return indices.ReplaceAllString(s, "[*]") }

// cause is one of a Status's.
type cause struct{ field, reason, message string }

func causesOf(body any) []cause {
	v, _ := get(body, path{"details", "causes"})
	l, _ := v.([]any)
	var out []cause
	for _, e := range l {
		out = append(out, cause{text(e, "field"), text(e, "reason"), text(e, "message")})
	}
	slices.SortFunc(out, func(a, b cause) int {
		return strings.Compare(a.field+"\x00"+a.reason+"\x00"+a.message, b.field+"\x00"+b.reason+"\x00"+b.message)
	})
	return slices.Compact(out)
}

// judge compares two answers.
// Causes that match one of since are the same under another name, see allow.yaml.
func judge(theirs, ours answer, since []*exception) verdict {
	if ours.err != nil && theirs.err != nil {
		return verdict{allowed, "neither answers: a library that both have panics", []string{theirs.err.Error(), ours.err.Error()}}
	}
	if ours.err != nil {
		return verdict{panics, "no answer", []string{ours.err.Error()}}
	}
	if theirs.err != nil {
		return verdict{codes, "upstream gave no answer", []string{theirs.err.Error()}}
	}
	their, our := normalise(theirs.body), normalise(ours.body)
	if failedTogether := theirs.code >= 400 && ours.code >= 400; failedTogether {
		their, our = generated(their, our)
		their, our = setAside(their, our, since)
	}
	failed := func(a answer) bool { return a.code >= 400 }
	summary := func() []string {
		return []string{"upstream: " + describe(theirs.code, their), "ours:     " + describe(ours.code, our)}
	}
	switch {
	case ours.code >= 500 && theirs.code != ours.code:
		return verdict{panics, generalise(fmt.Sprintf("%d: %.120s", ours.code, text(our, "message"))), summary()}
	case failed(theirs) && !failed(ours):
		return verdict{accepts, "upstream: " + reasons(their), summary()}
	case ours.code == http.StatusNotFound && theirs.code != http.StatusNotFound &&
		(strings.HasPrefix(text(ours.body, "message"), "the server could not find the requested resource") || text(ours.body, "message") == ""):
		return verdict{notServed, "404", summary()}
	case failed(ours) && !failed(theirs):
		return verdict{refuses, "ours: " + reasons(our), summary()}
	case theirs.code != ours.code || text(their, "reason") != text(our, "reason") && failed(theirs):
		return verdict{codes, fmt.Sprintf("%d %s instead of %d %s", ours.code, text(our, "reason"), theirs.code, text(their, "reason")), summary()}
	case failed(theirs):
		return judgeErrors(their, our, summary())
	}
	if diff := compare(their, our); len(diff) > 0 {
		var sig, detail []string
		for _, d := range diff {
			sig = append(sig, d.at.generic()+" "+d.how)
			detail = append(detail, d.String())
		}
		if _, isText := their.(string); isText {
			sig = []string{"text"}
		}
		slices.Sort(sig)
		sig = slices.Compact(sig)
		if len(sig) > 4 {
			sig = append(sig[:4], "…")
		}
		return verdict{objects, strings.Join(sig, ", "), detail[:min(len(detail), 25)]}
	}
	if a, b := slices.Sorted(slices.Values(theirs.warnings)), slices.Sorted(slices.Values(ours.warnings)); !slices.Equal(a, b) {
		var sig []string
		for _, w := range a {
			if !slices.Contains(b, w) {
				sig = append(sig, "missing "+generalise(w))
			}
		}
		for _, w := range b {
			if !slices.Contains(a, w) {
				sig = append(sig, "extra "+generalise(w))
			}
		}
		return verdict{warns, strings.Join(sig[:min(3, len(sig))], "; "), []string{fmt.Sprintf("upstream: %q", a), fmt.Sprintf("ours:     %q", b)}}
	}
	if theirs.kind != ours.kind {
		return verdict{objects, "content type", []string{theirs.kind, ours.kind}}
	}
	return verdict{class: same}
}

// generated gives an object that both sides refused, and whose name each made up,
// one name.
func generated(their, our any) (any, any) {
	a, b := text(their, "details", "name"), text(our, "details", "name")
	if a == b || len(a) != len(b) || len(a) <= 5 || a[:len(a)-5] != b[:len(b)-5] {
		return their, our
	}
	rename := func(v any, name string) any {
		n, _ := decode(bytes.ReplaceAll(encode(v), []byte(name), []byte(name[:len(name)-5]+"*****")))
		return n
	}
	return rename(their, a), rename(our, b)
}

// setAside drops causes that both sides give, each in its own words.
func setAside(their, our any, since []*exception) (any, any) {
	for _, e := range since {
		a, x := e.drop(their)
		b, y := e.drop(our)
		if x && y {
			their, our = a, b
			e.used++
		}
	}
	return their, our
}

// judgeErrors compares two refusals with the same code and reason. How often a
// cause is repeated does not matter: what a client shows of them is unique.
func judgeErrors(their, our any, summary []string) verdict {
	a, b := causesOf(their), causesOf(our)
	var sig []string
	has := func(l []cause, c cause) bool {
		return slices.ContainsFunc(l, func(e cause) bool { return e.field == c.field && e.reason == c.reason })
	}
	for _, c := range a {
		if !has(b, c) {
			sig = append(sig, generalise("missing "+c.field+" "+c.reason))
		}
	}
	for _, c := range b {
		if !has(a, c) {
			sig = append(sig, generalise("extra "+c.field+" "+c.reason))
		}
	}
	slices.Sort(sig)
	sig = slices.Compact(sig)
	if len(sig) > 0 {
		return verdict{causes, strings.Join(sig[:min(5, len(sig))], ", "), summary}
	}
	for _, k := range []string{"name", "group", "kind", "retryAfterSeconds"} {
		x, _ := get(their, path{"details", k})
		y, _ := get(our, path{"details", k})
		if fmt.Sprint(x) != fmt.Sprint(y) {
			return verdict{causes, "details." + k, summary}
		}
	}
	if text(their, "message") != text(our, "message") || !slices.Equal(a, b) {
		return verdict{messages, differingMessage(a, b, text(their, "message"), text(our, "message")), summary}
	}
	if t, ok := their.(string); ok && t != our {
		return verdict{messages, "text", summary}
	}
	return verdict{class: same}
}

func differingMessage(a, b []cause, x, y string) string {
	for i := range a {
		if i < len(b) && a[i].message != b[i].message {
			return generalise(fmt.Sprintf("%s: %.80s", a[i].field, a[i].message))
		}
	}
	return generalise(fmt.Sprintf("%.80s", x))
}

// reasons is the short form of a refusal.
func reasons(body any) string {
	l := causesOf(body)
	if len(l) == 0 {
		return generalise(fmt.Sprintf("%s: %.150s", text(body, "reason"), text(body, "message")))
	}
	var out []string
	for _, c := range l {
		out = append(out, generalise(c.field+" "+c.reason))
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return strings.Join(out[:min(4, len(out))], ", ")
}

// describe is the long form of an answer.
func describe(code int, body any) string {
	if code < 400 {
		return fmt.Sprintf("%d %s", code, brief(body))
	}
	if s, ok := body.(string); ok {
		return fmt.Sprintf("%d %.400s", code, s)
	}
	s := fmt.Sprintf("%d %s: %.600s", code, text(body, "reason"), text(body, "message"))
	for _, c := range causesOf(body) {
		s += fmt.Sprintf("\n            %s %s: %.300s", c.field, c.reason, c.message)
	}
	return s
}
