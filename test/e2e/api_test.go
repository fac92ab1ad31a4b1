package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAPI speaks to the API server in plain HTTPS: status codes, causes and
// content types as upstream's, for good requests and bad ones.
func TestAPI(t *testing.T) {
	p := newCluster(t, "--simulated-nodes", "1", "--no-node")
	apiCases(t, p)
	t.Run("watch resumes after a restart", func(t *testing.T) { apiRestart(t, p) })
	p.unharmed(t)
}

func apiCases(t *testing.T, p *Proa) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *Proa, *client)
	}{
		{"bodies", apiBodies}, {"field validation", apiFieldValidation}, {"invalid and immutable", apiInvalid},
		{"conflicts and preconditions", apiConflicts}, {"methods and media types", apiMedia}, {"selectors", apiSelectors},
		{"chunks", apiChunks}, {"resource versions", apiResourceVersions}, {"watch", apiWatch}, {"tables and metadata", apiTables},
		{"discovery and schemas", apiDiscovery}, {"dry run and generated names", apiDryRun}, {"delete collection", apiDeleteCollection},
		{"server-side apply", apiApply}, {"anonymous", apiAnonymous}, {"authorization and impersonation", apiRBAC},
		{"tokens", apiTokens}, {"bootstrap token", apiBootstrap}, {"subresources", apiSubresources}, {"defaults of kinds", apiDefaults},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, p.In(t), p.In(t).client()) })
	}
}

// client speaks HTTPS to the server, by default as the administrator.
type client struct {
	t    *testing.T
	base string
	http *http.Client
}

func (p *Proa) client() *client {
	p.t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(p.data(), "pki", "admin.crt"), filepath.Join(p.data(), "pki", "admin.key"))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.clientOf(cert)
}

// clientOf is a client with this certificate, or with none.
func (p *Proa) clientOf(certs ...tls.Certificate) *client {
	p.t.Helper()
	return p.clientFor("https://"+p.Address+":6443", filepath.Join(p.data(), "pki", "ca.crt"), certs...)
}

// clientFor is a client of a server on the machine that this CA vouches for.
func (p *Proa) clientFor(base, caFile string, certs ...tls.Certificate) *client {
	p.t.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		p.t.Fatal("ca.crt holds no certificate")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs, MinVersion: tls.VersionTLS12},
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return p.dial(address)
		},
		ForceAttemptHTTP2: true,
	}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &client{t: p.t, base: base, http: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// answer is a response with its body read.
type answer struct {
	t      *testing.T
	what   string
	code   int
	header http.Header
	body   string
}

// do sends a request; headers are "Name: value".
func (c *client) do(method, path, body string, headers ...string) *answer {
	c.t.Helper()
	req, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Get(name) != "" && name == "Content-Type" {
			req.Header.Del(name)
		}
		req.Header.Add(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return &answer{t: c.t, what: method + " " + path, code: resp.StatusCode, header: resp.Header, body: string(b)}
}

func (c *client) get(path string, headers ...string) *answer {
	c.t.Helper()
	return c.do("GET", path, "", headers...)
}

// is wants this status code and every text in the body.
func (a *answer) is(code int, wants ...string) *answer {
	a.t.Helper()
	if a.code != code {
		a.t.Errorf("%s: %d, want %d: %.1000s", a.what, a.code, code, a.body)
		return a
	}
	for _, want := range wants {
		if !strings.Contains(a.body, want) {
			a.t.Errorf("%s: no %q in %.2000s", a.what, want, a.body)
		}
	}
	return a
}

// at is the value at a path of keys in the JSON body, as text; "" where it is absent.
func (a *answer) at(path string) string {
	a.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("%s: %v: %.300s", a.what, err, a.body)
	}
	for _, key := range strings.Split(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(t) {
				return ""
			}
			v = t[i]
		default:
			return ""
		}
	}
	if v == nil {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v)
	return string(b)
}

const (
	cms  = "/api/v1/namespaces/default/configmaps"
	deps = "/apis/apps/v1/namespaces/default/deployments"
)

func configMap(name string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `","labels":{"set":"api"}},"data":{"a":"b"}}`
}

func apiBodies(_ *testing.T, _ *Proa, c *client) {
	c.do("POST", cms, `{"apiVersion":"v1","kind":"ConfigMap"`).is(400, `"reason":"BadRequest"`)
	c.do("POST", cms, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":5}}`).is(400, `"reason":"BadRequest"`, "ConfigMap in version", "cannot be handled as a ConfigMap")
	c.do("POST", cms, `[]`).is(400)
	c.do("POST", cms, `"text"`).is(400)
	c.do("POST", cms, `null`).is(422, "name or generateName is required")
	c.do("POST", cms, "").is(400)
	c.do("POST", cms, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`).is(400, "cannot be handled as a ConfigMap")
	c.do("POST", cms, `{"apiVersion":"v9","kind":"ConfigMap","metadata":{"name":"x"}}`).is(400)
	c.do("POST", cms, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [", "Content-Type: application/yaml").is(400)
	req, _ := http.NewRequest("POST", c.base+cms, strings.NewReader("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\n"))
	req.Header.Set("Content-Type", "application/yaml")
	req.Header.Set("Accept", "application/yaml")
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 201 || !strings.Contains(string(b), "name: from-yaml") {
		c.t.Errorf("YAML: %d: %s", resp.StatusCode, b)
	}
	c.do("POST", cms, strings.Repeat(`{"a":`, 10001)+"1"+strings.Repeat("}", 10001)).is(400, "exceeded max depth")
	c.do("POST", cms, strings.Repeat(`[`, 100000)).is(400)
	c.do("POST", cms, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep","annotations":`+strings.Repeat(`{"a":`, 10000)+"1"+strings.Repeat("}", 10001)+"}").is(400)
	c.do("PATCH", cms+"/from-yaml", `{"data":`+strings.Repeat(`{"a":`, 10000)+"1"+strings.Repeat("}", 10000)+"}", "Content-Type: application/merge-patch+json").is(400)
	c.do("PATCH", cms+"/from-yaml", `{"data":`+strings.Repeat(`{"a":`, 10000)+"1"+strings.Repeat("}", 10000)+"}", "Content-Type: application/strategic-merge-patch+json").is(400)
	c.do("PATCH", cms+"/from-yaml?fieldManager=x", "data: "+strings.Repeat("[", 10000), "Content-Type: application/apply-patch+yaml").is(400)
	c.do("PATCH", cms+"/from-yaml?fieldManager=x", strings.Repeat("{a: ", 11000)+strings.Repeat("}", 11000), "Content-Type: application/apply-patch+yaml").is(400)
	big := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"` + strings.Repeat("x", 4<<20) + `"}}`
	c.do("POST", cms, big).is(413, "RequestEntityTooLarge")
	c.do("PATCH", cms+"/from-yaml", `{"data":{"a":"`+strings.Repeat("x", 4<<20)+`"}}`, "Content-Type: application/merge-patch+json").is(413)
	// Within the body's limit and over the kind's.
	c.do("POST", cms, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"`+strings.Repeat("x", 1<<20+1)+`"}}`).is(422, "Too long")
	var ops []string
	for range 10001 {
		ops = append(ops, `{"op":"add","path":"/data/a","value":"b"}`)
	}
	c.do("PATCH", cms+"/from-yaml", "["+strings.Join(ops, ",")+"]", "Content-Type: application/json-patch+json").is(413, "The allowed maximum operations in a JSON patch is 10000")
	c.do("PATCH", cms+"/from-yaml", "no patch", "Content-Type: application/json-patch+json").is(400)
	c.do("PATCH", cms+"/from-yaml", `[{"op":"replace","path":"/nothing/here","value":1}]`, "Content-Type: application/json-patch+json").is(422)
	c.do("POST", cms, "k8s\x00garbage", "Content-Type: application/vnd.kubernetes.protobuf").is(400)
	c.do("DELETE", cms+"/from-yaml", `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":"x"}`).is(400)
	c.do("DELETE", cms+"/from-yaml", `{"propagationPolicy":"Sideways"}`).is(422, "propagationPolicy")
	c.do("DELETE", cms+"/from-yaml", "").is(200, `"status":"Success"`)
}

func apiFieldValidation(_ *testing.T, _ *Proa, c *client) {
	unknown := strings.Replace(configMap("fields"), `"data"`, `"dta":{},"data"`, 1)
	c.do("POST", cms+"?fieldValidation=Strict", unknown).is(400, `strict decoding error: unknown field \"dta\"`)
	twice := strings.Replace(configMap("fields"), `"data"`, `"data":{},"data"`, 1)
	c.do("POST", cms+"?fieldValidation=Strict", twice).is(400, `duplicate field \"data\"`)
	c.do("POST", cms+"?fieldValidation=Nonsense", unknown).is(422, "fieldValidation")
	a := c.do("POST", cms+"?fieldValidation=Warn", unknown).is(201)
	if w := a.header.Get("Warning"); !strings.Contains(w, `unknown field \"dta\"`) {
		a.t.Errorf("Warn: Warning: %q", w)
	}
	c.do("DELETE", cms+"/fields", "").is(200)
	a = c.do("POST", cms+"?fieldValidation=Ignore", unknown).is(201)
	if w := a.header.Get("Warning"); w != "" {
		a.t.Errorf("Ignore: Warning: %q", w)
	}
	c.do("PATCH", cms+"/fields?fieldValidation=Strict", `{"dta":"x"}`, "Content-Type: application/merge-patch+json").is(422, `unknown field \"dta\"`)
	c.do("DELETE", cms+"/fields", "").is(200)
}

func deployment(name string) string {
	return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"` + name + `"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"` + name + `"}},"template":{"metadata":{"labels":{"app":"` + name + `"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
}

func apiInvalid(_ *testing.T, _ *Proa, c *client) {
	c.do("POST", cms, configMap("Not_A_Name")).is(422, `"reason":"Invalid"`, `"field":"metadata.name"`, `"reason":"FieldValueInvalid"`, "RFC 1123 subdomain")
	c.do("POST", cms, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}`).is(422, "name or generateName is required")
	c.do("POST", cms, strings.Replace(configMap("x"), `"labels":{"set":"api"}`, `"namespace":"other"`, 1)).is(400, "the namespace of the provided object does not match the namespace sent on the request")
	c.do("POST", "/api/v1/namespaces/absent/configmaps", configMap("x")).is(404, `namespaces \"absent\" not found`)
	c.do("POST", deps, deployment("inv")).is(201)
	c.do("PATCH", deps+"/inv", `{"spec":{"selector":{"matchLabels":{"app":"y"}}}}`, "Content-Type: application/merge-patch+json").
		is(422, `"field":"spec.selector"`, "field is immutable", `"field":"spec.template.metadata.labels"`, "does not match template `labels`")
	c.do("PATCH", deps+"/inv", `{"spec":{"replicas":-1,"minReadySeconds":-2}}`, "Content-Type: application/merge-patch+json").
		is(422, `"field":"spec.replicas"`, `"field":"spec.minReadySeconds"`, "must be greater than or equal to 0")
	c.do("PATCH", deps+"/inv", `{"metadata":{"uid":"other"}}`, "Content-Type: application/merge-patch+json").is(422, "metadata.uid", "field is immutable")
	c.do("PATCH", deps+"/inv", `{"metadata":{"name":"other"}}`, "Content-Type: application/merge-patch+json").is(400, "the name of the object (other) does not match the name on the URL (inv)")
	c.do("PATCH", deps+"/inv", `{"spec":{"template":{"spec":{"restartPolicy":"Never"}}}}`, "Content-Type: application/merge-patch+json").is(422, `"reason":"FieldValueNotSupported"`, "supported values")
	c.do("DELETE", deps+"/inv", "").is(200)
	pods := "/api/v1/namespaces/default/pods"
	pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"imm"},"spec":{"containers":[{"name":"c","image":"i"}],"schedulerName":"none"}}`
	c.do("POST", pods, pod).is(201)
	c.do("PATCH", pods+"/imm", `{"spec":{"hostname":"x"}}`, "Content-Type: application/merge-patch+json").is(422, "pod updates may not change fields other than", `"field":"spec"`)
	c.do("PATCH", pods+"/imm", `{"spec":{"containers":[{"name":"c","image":"j"}]}}`, "Content-Type: application/strategic-merge-patch+json").is(200, `"image":"j"`)
	c.do("DELETE", pods+"/imm?gracePeriodSeconds=0", "").is(200)
	c.do("POST", pods, strings.Replace(pod, `"containers":[{"name":"c","image":"i"}]`, `"containers":[]`, 1)).is(422, `"field":"spec.containers"`, `"reason":"FieldValueRequired"`)
	c.do("POST", pods, strings.Replace(pod, `"image":"i"`, `"image":"i","ports":[{"containerPort":99999}],"resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}`, 1)).
		is(422, `"field":"spec.containers[0].ports[0].containerPort"`, "must be between 1 and 65535, inclusive", "must be less than or equal to cpu limit of 1")
	c.do("POST", pods, strings.Replace(pod, `"image":"i"`, `"image":"i","resources":{"requests":{"cpu":"lots"}}`, 1)).is(400, "quantities must match the regular expression")
	immutable := strings.Replace(configMap("fixed"), `"data"`, `"immutable":true,"data"`, 1)
	c.do("POST", cms, immutable).is(201)
	c.do("PATCH", cms+"/fixed", `{"data":{"a":"c"}}`, "Content-Type: application/merge-patch+json").is(422, "field is immutable when `immutable` is set")
	c.do("DELETE", cms+"/fixed", "").is(200)
	c.do("POST", "/api/v1/namespaces/default/services", `{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":0}]}}`).is(422, "spec.ports[0].port")
	c.do("POST", "/api/v1/namespaces/default/services", `{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"clusterIP":"192.0.2.1","ports":[{"port":80}]}}`).is(422, "spec.clusterIPs", "failed to allocate IP 192.0.2.1: the provided network does not match the current range")
	c.do("POST", "/api/v1/namespaces/default/services", `{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":5}]}}`).is(422, "spec.ports[0].nodePort", "provided port is not in the valid range")
	c.do("DELETE", "/api/v1/namespaces/default", "").is(403, "this namespace may not be deleted")
}

func apiConflicts(t *testing.T, _ *Proa, c *client) {
	first := c.do("POST", cms, configMap("race")).is(201)
	c.do("POST", cms, configMap("race")).is(409, `"reason":"AlreadyExists"`)
	c.do("PATCH", cms+"/race", `{"data":{"a":"c"}}`, "Content-Type: application/merge-patch+json").is(200)
	c.do("PUT", cms+"/race", first.body).is(409, `"reason":"Conflict"`, "the object has been modified; please apply your changes to the latest version and try again")
	c.do("PUT", cms+"/race", strings.Replace(configMap("race"), `"labels"`, `"uid":"00000000-0000-0000-0000-000000000000","labels"`, 1)).is(409, "Precondition failed: UID in precondition")
	c.do("PUT", cms+"/race", configMap("race")).is(200)
	c.do("PUT", cms+"/race", configMap("other")).is(400)
	c.do("PUT", cms+"/absent", configMap("absent")).is(404)
	c.do("PATCH", cms+"/absent", `{}`, "Content-Type: application/merge-patch+json").is(404)
	c.do("DELETE", cms+"/absent", "").is(404, `"reason":"NotFound"`, `"kind":"configmaps"`)
	c.do("DELETE", cms+"/race", `{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}`).is(409, "the UID in the precondition (00000000-0000-0000-0000-000000000000) does not match the UID in record")
	c.do("DELETE", cms+"/race", `{"preconditions":{"resourceVersion":"1"}}`).is(409, "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record")
	uid := c.get(cms + "/race").is(200).at("metadata.uid")
	a := c.do("DELETE", cms+"/race", `{"preconditions":{"uid":"`+uid+`"}}`).is(200)
	if a.at("details.uid") != uid {
		t.Errorf("deletion says: %s", a.body)
	}
	c.do("POST", cms, strings.Replace(configMap("held"), `"labels"`, `"finalizers":["example.org/hold"],"labels"`, 1)).is(201)
	if a := c.do("DELETE", cms+"/held", "").is(200); a.at("metadata.deletionTimestamp") == "" {
		t.Errorf("a held object: %s", a.body)
	}
	c.do("PATCH", cms+"/held", `{"metadata":{"finalizers":["example.org/hold","example.org/more"]}}`, "Content-Type: application/merge-patch+json").is(422, "no new finalizers can be added if the object is being deleted")
	c.do("PATCH", cms+"/held", `{"metadata":{"finalizers":null}}`, "Content-Type: application/merge-patch+json").is(200)
	c.get(cms + "/held").is(404)
}

func apiMedia(t *testing.T, _ *Proa, c *client) {
	c.do("POST", cms, configMap("x"), "Content-Type: text/plain").is(415)
	c.do("PATCH", cms+"/kube-root-ca.crt", `{}`, "Content-Type: application/json").is(415, "UnsupportedMediaType")
	c.get(cms, "Accept: text/html").is(406, "NotAcceptable", "application/json")
	c.do("PUT", cms, configMap("x")).is(405, `"reason":"MethodNotAllowed"`)
	c.do("POST", cms+"/kube-root-ca.crt", configMap("x")).is(405)
	c.do("PATCH", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", `{}`, "Content-Type: application/merge-patch+json").is(405)
	c.do("BREW", cms, "").is(405)
	c.get("/api/v1/nonsense").is(404)
	c.get("/apis/nonsense.example/v1/things").is(404)
	c.get("/nonsense").is(404)
	c.get(cms + "/kube-root-ca.crt/nonsense").is(404)
	a := c.get(cms, "Accept: application/vnd.kubernetes.protobuf").is(200)
	if !strings.HasPrefix(a.body, "k8s\x00") || a.header.Get("Content-Type") != "application/vnd.kubernetes.protobuf" {
		t.Errorf("protobuf: %s: %q", a.header.Get("Content-Type"), a.body[:8])
	}
	a = c.get(cms+"/absent", "Accept: application/vnd.kubernetes.protobuf").is(404)
	if !strings.HasPrefix(a.body, "k8s\x00") {
		t.Errorf("a status in protobuf: %q", a.body)
	}
	// What was read as protobuf can be written as protobuf.
	one := c.get(cms+"/kube-root-ca.crt", "Accept: application/vnd.kubernetes.protobuf").is(200)
	req, _ := http.NewRequest("PUT", c.base+cms+"/kube-root-ca.crt", strings.NewReader(one.body))
	req.Header.Set("Content-Type", "application/vnd.kubernetes.protobuf")
	resp, err := c.http.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("PUT of protobuf: %v: %v", err, resp)
	}
	if err == nil {
		_ = resp.Body.Close()
	}
	c.get(cms, "Accept: application/yaml").is(200, "kind: ConfigMapList")
	c.get(cms, "Accept: application/cbor, application/json").is(200)
	if a := c.get("/version").is(200); a.at("major") != "1" || a.at("minor") != "37" {
		t.Errorf("version: %s", a.body)
	}
}

func apiSelectors(t *testing.T, _ *Proa, c *client) {
	c.do("POST", cms, configMap("selected")).is(201)
	for _, bad := range []string{"labelSelector=a%20b", "labelSelector=a%3D%3D%3Db", "labelSelector=-x%3Dy", "labelSelector=x%20in%20(", "fieldSelector=spec.x%3Dy", "fieldSelector=x", "limit=x", "timeoutSeconds=x"} {
		c.get(cms+"?"+bad).is(400, `"reason":"BadRequest"`)
	}
	count := func(path string, want int) {
		t.Helper()
		var list struct{ Items []any }
		if err := json.Unmarshal([]byte(c.get(path).is(200).body), &list); err != nil || len(list.Items) != want {
			t.Errorf("%s: %v: %d items, want %d", path, err, len(list.Items), want)
		}
	}
	count(cms+"?labelSelector=set%3Dapi", 1)
	count(cms+"?labelSelector=set%20in%20(api,other),!absent", 1)
	count(cms+"?labelSelector=set%20notin%20(api)", 1)
	count(cms+"?fieldSelector=metadata.name%3Dselected", 1)
	count(cms+"?fieldSelector=metadata.name!%3Dselected", 1)
	count("/api/v1/namespaces?fieldSelector=status.phase%3DActive,metadata.name%3Ddefault", 1)
	count("/api/v1/pods?fieldSelector=spec.nodeName%3Dabsent", 0)
	c.do("DELETE", cms+"/selected", "").is(200)
}

func apiChunks(t *testing.T, p *Proa, c *client) {
	p.Kubectl("create", "namespace", "chunks")
	ns := "/api/v1/namespaces/chunks/configmaps"
	for i := range 7 {
		c.do("POST", ns, configMap(fmt.Sprintf("c%d", i))).is(201)
	}
	var names []string
	first, token, version := "", "", ""
	for page := 0; ; page++ {
		a := c.get(ns + "?labelSelector=set%3Dapi&limit=3&continue=" + token).is(200)
		var list struct {
			Metadata struct {
				Continue, ResourceVersion string
				RemainingItemCount        *int
			}
			Items []struct{ Metadata struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(a.body), &list); err != nil {
			t.Fatal(err)
		}
		if page == 0 {
			first, version = list.Metadata.Continue, list.Metadata.ResourceVersion
			c.do("POST", ns, configMap("c9")).is(201) // later than the first page's version
		}
		if list.Metadata.ResourceVersion != version {
			t.Errorf("page %d has version %s, the first %s", page, list.Metadata.ResourceVersion, version)
		}
		for _, item := range list.Items {
			names = append(names, item.Metadata.Name)
		}
		if token = list.Metadata.Continue; token == "" {
			break
		}
		if page > 9 {
			t.Fatal("chunks do not end")
		}
	}
	if got := strings.Join(names, " "); got != "c0 c1 c2 c3 c4 c5 c6" {
		t.Errorf("chunks: %s", got)
	}
	a := c.get(ns + "?limit=2").is(200)
	if a.at("metadata.remainingItemCount") == "" {
		t.Errorf("no remainingItemCount: %s", a.at("metadata"))
	}
	c.get(ns+"?limit=3&continue=nonsense").is(400, "continue key is not valid")
	c.get(ns+"?limit=3&continue="+first+"&resourceVersion=5").is(400, "resource version")
	// A token of a version that is compacted or never was: gone, with a token to go on.
	// {"v":"meta.k8s.io/v1","rv":1,"start":"c2\u0000"}
	a = c.get(ns + "?limit=3&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJjMlx1MDAwMCJ9")
	if a.code != 200 && a.code != 410 {
		t.Errorf("continue of an old version: %d: %s", a.code, a.body)
	}
	p.Kubectl("delete", "namespace", "chunks", "--timeout=60s")
}

func apiResourceVersions(t *testing.T, _ *Proa, c *client) {
	list := c.get(cms + "?resourceVersion=0").is(200)
	version := c.get(cms).is(200).at("metadata.resourceVersion")
	if version == "" || version == "0" || list.at("metadata.resourceVersion") == "" {
		t.Errorf("list has version %q", version)
	}
	c.get(cms + "?resourceVersion=" + version + "&resourceVersionMatch=Exact").is(200)
	c.get(cms + "?resourceVersion=" + version + "&resourceVersionMatch=NotOlderThan").is(200)
	c.get(cms+"?resourceVersionMatch=Exact").is(422, "resourceVersionMatch is forbidden unless resourceVersion is provided")
	c.get(cms + "?resourceVersion=0&resourceVersionMatch=Exact").is(422)
	c.get(cms + "?resourceVersion=" + version + "&resourceVersionMatch=Sometimes").is(422)
	c.get(cms + "?resourceVersion=nonsense").is(400)
	if a := c.get(cms + "?resourceVersion=1&resourceVersionMatch=Exact"); a.code != 200 { // a young store still has it
		a.is(410, `"reason":"Expired"`)
	}
	c.get(cms+"?resourceVersion=99999999999").is(504, "Too large resource version", "ResourceVersionTooLarge")
	c.get(cms + "/kube-root-ca.crt?resourceVersion=" + version).is(200)
	one := c.do("POST", cms, configMap("versions")).is(201).at("metadata.resourceVersion")
	same := c.do("PUT", cms+"/versions", configMap("versions")).is(200).at("metadata.resourceVersion")
	if one != same {
		t.Errorf("a write without change made version %s of %s", same, one)
	}
	c.do("DELETE", cms+"/versions", "").is(200)
}

// event is one line of a watch.
type event struct {
	Type   string
	Object struct {
		Kind     string
		Message  string
		Code     int
		Metadata struct {
			Name, ResourceVersion string
			Annotations           map[string]string
		}
	}
}

// watch opens a watch; its events come one by one from the function.
func (c *client) watch(path string) func() event {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	c.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: c.http.Transport}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 {
		b, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("watch %s: %d: %s", path, resp.StatusCode, b)
	}
	lines := bufio.NewReader(resp.Body)
	return func() event {
		c.t.Helper()
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return event{Type: "END"}
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			c.t.Fatalf("watch %s: %v: %s", path, err, line)
		}
		return e
	}
}

func apiWatch(t *testing.T, _ *Proa, c *client) {
	version := c.get(cms).is(200).at("metadata.resourceVersion")
	next := c.watch(cms + "?watch=true&labelSelector=set%3Dapi&resourceVersion=" + version)
	c.do("POST", cms, configMap("w1")).is(201)
	c.do("PATCH", cms+"/w1", `{"data":{"a":"c"}}`, "Content-Type: application/merge-patch+json").is(200)
	c.do("PATCH", cms+"/w1", `{"metadata":{"labels":{"set":"other"}}}`, "Content-Type: application/merge-patch+json").is(200)
	c.do("PATCH", cms+"/w1", `{"metadata":{"labels":{"set":"api"}}}`, "Content-Type: application/merge-patch+json").is(200)
	c.do("DELETE", cms+"/w1", "").is(200)
	var versions []string
	for _, want := range []string{"ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"} {
		e := next()
		if e.Type != want || e.Object.Metadata.Name != "w1" {
			t.Errorf("watch: %s %s, want %s", e.Type, e.Object.Metadata.Name, want)
		}
		versions = append(versions, e.Object.Metadata.ResourceVersion)
	}
	// Resumed in the middle, the watch goes on from there.
	next = c.watch(cms + "?watch=true&labelSelector=set%3Dapi&resourceVersion=" + versions[1])
	for _, want := range []string{"DELETED", "ADDED", "DELETED"} {
		if e := next(); e.Type != want {
			t.Errorf("resumed: %s, want %s", e.Type, want)
		}
	}
	// The list streamed as a watch ends in a bookmark that says so.
	next = c.watch(cms + "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=5")
	initial := 0
	for e := next(); ; e = next() {
		if e.Type == "BOOKMARK" {
			if e.Object.Metadata.Annotations["k8s.io/initial-events-end"] != "true" || e.Object.Metadata.ResourceVersion == "" {
				t.Errorf("bookmark: %+v", e)
			}
			break
		}
		if e.Type != "ADDED" {
			t.Fatalf("initial events: %+v", e)
		}
		initial++
	}
	if initial == 0 {
		t.Error("no initial events")
	}
	for e := next(); e.Type != "END"; e = next() { // the timeout ends it
		if e.Type == "ERROR" {
			t.Errorf("watch: %+v", e)
		}
	}
	c.get(cms+"?watch=true&sendInitialEvents=true").is(422, "sendInitialEvents")
	if e := c.watch(cms + "?watch=true&resourceVersion=1&timeoutSeconds=5")(); e.Type == "ERROR" && e.Object.Code != 410 || e.Type == "END" {
		t.Errorf("watch of an old version: %+v", e)
	}
	if e := c.watch("/api/v1/watch/namespaces/default/configmaps?timeoutSeconds=5")(); e.Type != "ADDED" {
		t.Errorf("the old path of watches: %+v", e)
	}
	if e := c.watch(cms + "?watch=1&timeoutSeconds=5&fieldSelector=metadata.name%3Dkube-root-ca.crt")(); e.Object.Metadata.Name != "kube-root-ca.crt" {
		t.Errorf("watch of one object: %+v", e)
	}
}

func apiTables(t *testing.T, _ *Proa, c *client) {
	const table = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"
	a := c.get("/api/v1/nodes", table).is(200, `"kind":"Table"`, `"name":"Status"`, `"cells":[`, `"kind":"PartialObjectMetadata"`)
	if a.at("columnDefinitions.0.name") != "Name" || a.at("columnDefinitions.0.format") != "name" {
		t.Errorf("columns: %s", a.at("columnDefinitions"))
	}
	c.get(cms+"?includeObject=Object", table).is(200, `"kind":"ConfigMap"`)
	c.get(cms+"?includeObject=None", table).is(200, `"object":null`)
	c.get(cms+"?includeObject=Some", table).is(400)
	c.get(cms+"/kube-root-ca.crt", table).is(200, `"kind":"Table"`)
	c.get(cms, "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").is(200, `"kind":"PartialObjectMetadataList"`)
	a = c.get(cms+"/kube-root-ca.crt", "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").is(200, `"kind":"PartialObjectMetadata"`)
	if strings.Contains(a.body, "BEGIN CERTIFICATE") {
		t.Error("metadata hold data")
	}
	c.get(cms, "Accept: application/json;as=Chair;v=v1;g=meta.k8s.io").is(406)
	c.get(cms, "Accept: application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").is(200, "k8s\x00")
}

func apiDiscovery(t *testing.T, _ *Proa, c *client) {
	const aggregated = "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	a := c.get("/apis", aggregated).is(200, `"kind":"APIGroupDiscoveryList"`, `"name":"apps"`, `"resource":"deployments"`, `"subresource":"scale"`)
	if etag := a.header.Get("ETag"); etag == "" {
		t.Error("aggregated discovery has no ETag")
	} else if again := c.get("/apis", aggregated, "If-None-Match: "+etag); again.code != 304 {
		t.Errorf("If-None-Match: %d", again.code)
	}
	c.get("/api", aggregated).is(200, `"resource":"pods"`, `"subresource":"exec"`)
	c.get("/apis").is(200, `"kind":"APIGroupList"`)
	c.get("/api").is(200, `"kind":"APIVersions"`)
	c.get("/api/v1").is(200, `"kind":"APIResourceList"`, `"pods/eviction"`, `"storageVersionHash"`)
	c.get("/apis/apps").is(200, `"preferredVersion"`)
	c.get("/").is(200, `"/healthz"`, `"/openapi/v2"`)
	a = c.get("/openapi/v2").is(200)
	if a.at("swagger") != "2.0" || a.at("definitions.io.k8s.api.core.v1.Pod.type") == "" && !strings.Contains(a.body, `"io.k8s.api.core.v1.Pod":`) {
		t.Errorf("openapi/v2: %.200s", a.body)
	}
	if a := c.get("/openapi/v2", "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf").is(200); len(a.body) < 1000 {
		t.Errorf("openapi/v2 in protobuf: %d bytes", len(a.body))
	}
	a = c.get("/openapi/v3").is(200)
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal([]byte(a.body), &index); err != nil || len(index.Paths) < 20 {
		t.Fatalf("openapi/v3: %v: %s", err, a.body)
	}
	for path, doc := range index.Paths {
		c.get(doc.ServerRelativeURL).is(200, `"openapi":"3.0.0"`)
		if strings.HasPrefix(path, "apis/apps/v1") {
			c.get("/openapi/v3/"+path).is(200, "io.k8s.api.apps.v1.Deployment", "x-kubernetes-group-version-kind")
		}
	}
	c.get("/openapi/v3/apis/nonsense/v1").is(404)
	if a := c.get("/metrics").is(200, "apiserver_request_total", "etcd_request_duration_seconds", "apiserver_resource_objects"); a.code != 200 {
		t.Error("metrics")
	}
}

func apiDryRun(t *testing.T, _ *Proa, c *client) {
	a := c.do("POST", cms+"?dryRun=All", configMap("dry")).is(201)
	if a.at("metadata.uid") == "" {
		t.Errorf("dry run: %s", a.body)
	}
	c.get(cms + "/dry").is(404)
	c.do("POST", cms+"?dryRun=Some", configMap("dry")).is(422, "dryRun")
	c.do("DELETE", cms+"/kube-root-ca.crt?dryRun=All", "").is(200)
	c.do("PATCH", cms+"/kube-root-ca.crt?dryRun=All", `{"data":{"x":"y"}}`, "Content-Type: application/merge-patch+json").is(200, `"x":"y"`)
	if c.get(cms+"/kube-root-ca.crt").is(200).at("data.x") != "" {
		t.Error("a dry run wrote")
	}
	c.do("DELETE", cms+"?dryRun=All", "").is(200)
	c.get(cms + "/kube-root-ca.crt").is(200)
	services := "/api/v1/namespaces/default/services"
	service := `{"apiVersion":"v1","kind":"Service","metadata":{"name":"dry"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30999}]}}`
	for range 2 { // a dry run keeps neither address nor port
		c.do("POST", services+"?dryRun=All", service).is(201)
	}
	c.do("POST", services, service).is(201)
	c.do("POST", services, strings.Replace(service, `"dry"`, `"dry2"`, 1)).is(422, "provided port is already allocated")
	c.do("DELETE", services+"/dry", "").is(200)
	c.do("POST", services, service).is(201)
	c.do("DELETE", services+"/dry", "").is(200)
	generated := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"gen-"}}`
	name := c.do("POST", cms, generated).is(201).at("metadata.name")
	if !regexp.MustCompile(`^gen-[bcdfghjklmnpqrstvwxz2456789]{5}$`).MatchString(name) {
		t.Errorf("generated name %q", name)
	}
	c.do("DELETE", cms+"/"+name, "").is(200)
	long := c.do("POST", cms, strings.Replace(generated, "gen-", strings.Repeat("g", 300), 1))
	if long.code != 201 && long.code != 422 {
		t.Errorf("a long generateName: %d: %s", long.code, long.body)
	}
}

func apiDeleteCollection(t *testing.T, p *Proa, c *client) {
	p.Kubectl("create", "namespace", "many")
	ns := "/api/v1/namespaces/many/configmaps"
	for i := range 5 {
		c.do("POST", ns, configMap(fmt.Sprintf("c%d", i))).is(201)
	}
	c.do("POST", ns, strings.Replace(configMap("kept"), `"api"`, `"kept"`, 1)).is(201)
	c.do("DELETE", ns+"?labelSelector=set%3Dapi", "").is(200, `"kind":"ConfigMapList"`)
	if a := c.get(ns + "?labelSelector=set"); strings.Contains(a.body, `"c1"`) || !strings.Contains(a.body, `"kept"`) {
		t.Errorf("after deletion: %s", a.body)
	}
	// The namespace goes with what is in it; meanwhile nothing new comes in.
	c.do("POST", ns, strings.Replace(configMap("held"), `"labels"`, `"finalizers":["example.org/hold"],"labels"`, 1)).is(201)
	c.do("DELETE", "/api/v1/namespaces/many", "").is(200, `"phase":"Terminating"`)
	c.do("POST", ns, configMap("late")).is(403, "because it is being terminated", "NamespaceTerminating")
	Eventually(t, 20*time.Second, func() error {
		a := c.get("/api/v1/namespaces/many")
		if !strings.Contains(a.body, "Some content in the namespace has finalizers remaining") {
			return fmt.Errorf("conditions: %s", a.body)
		}
		return nil
	})
	c.do("PATCH", ns+"/held", `{"metadata":{"finalizers":null}}`, "Content-Type: application/merge-patch+json").is(200)
	Eventually(t, 30*time.Second, func() error {
		if a := c.get("/api/v1/namespaces/many"); a.code != 404 {
			return fmt.Errorf("%d: %s", a.code, a.body)
		}
		return nil
	})
}

func apiApply(t *testing.T, _ *Proa, c *client) {
	apply := func(manager, query, body string) *answer {
		return c.do("PATCH", deps+"/ssa?fieldManager="+manager+query, body, "Content-Type: application/apply-patch+yaml")
	}
	a := apply("one", "", deployment("ssa")).is(201)
	if a.at("metadata.managedFields.0.manager") != "one" || a.at("metadata.managedFields.0.operation") != "Apply" || !strings.Contains(a.body, `"k:{\"name\":\"c\"}"`) {
		t.Errorf("managedFields: %s", a.at("metadata.managedFields"))
	}
	if a.at("spec.strategy.type") != "RollingUpdate" {
		t.Errorf("defaults: %s", a.body)
	}
	apply("one", "", deployment("ssa")).is(200)
	two := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ssa}\nspec: {replicas: 3}\n"
	apply("two", "", two).is(409, `"reason":"Conflict"`, `"reason":"FieldManagerConflict"`, `"field":".spec.replicas"`, `conflict with \"one\"`)
	apply("two", "&force=true", two).is(200, `"replicas":3`)
	apply("", "", two).is(422, "fieldManager", "is required for apply patch")
	apply("one", "", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"ssa","managedFields":[{}]}}`).is(400, "metadata.managedFields must be nil")
	apply("one", "", "[]").is(400)
	apply("one", "", "kind: Deployment\n").is(400)
	apply("three", "", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ssa}\nspec: {template: {spec: {containers: [{name: side, image: x}]}}}\n").is(200, `"name":"side"`, `"name":"c"`)
	// Without the entry, what only this manager owned goes.
	if a := apply("three", "", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ssa}\n").is(200); strings.Contains(a.body, `"name":"side"`) {
		t.Errorf("the list entry of a manager that gave it up stays: %s", a.body)
	}
	c.do("PATCH", deps+"/ssa?fieldManager=editor", `{"spec":{"replicas":4}}`, "Content-Type: application/merge-patch+json").is(200, `"manager":"editor"`, `"operation":"Update"`)
	c.do("PATCH", deps+"/ssa/scale?fieldManager=scaler", `{"spec":{"replicas":5}}`, "Content-Type: application/merge-patch+json").is(200, `"kind":"Scale"`)
	c.get(deps+"/ssa").is(200, `"manager":"scaler"`, `"subresource":"scale"`)
	// Lists of scalars and apply to a status.
	c.do("PATCH", deps+"/ssa/status?fieldManager=st&force=true", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"ssa"},"status":{"conditions":[{"type":"Mine","status":"True"}]}}`, "Content-Type: application/apply-patch+yaml").is(200, `"subresource":"status"`)
	c.do("PATCH", deps+"/ssa", `{"metadata":{"managedFields":[]}}`, "Content-Type: application/merge-patch+json").is(200)
	c.do("DELETE", deps+"/ssa", "").is(200)
}

func apiAnonymous(_ *testing.T, p *Proa, _ *client) {
	nobody := p.clientOf()
	for _, open := range []string{"/healthz", "/livez", "/readyz", "/version"} {
		nobody.get(open).is(200)
	}
	for _, closed := range []string{"/", "/api", "/apis", "/api/v1/pods", "/metrics", "/openapi/v2", "/openid/v1/jwks", "/.well-known/openid-configuration", "/debug/pprof/", "/nonsense", "/livez/etcd"} {
		a := nobody.get(closed)
		if a.code != 401 && a.code != 403 {
			a.t.Errorf("anonymous %s: %d: %s", closed, a.code, a.body)
		}
	}
	nobody.do("POST", cms, configMap("x")).is(401 + 2*boolInt(nobody.get("/api").code == 403))
	nobody.get("/healthz", "Authorization: Bearer nonsense").is(401)
	nobody.get("/api", "Authorization: Basic YTpi").is(401 + 2*boolInt(nobody.get("/api").code == 403))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func apiRBAC(t *testing.T, p *Proa, c *client) {
	const as = "Impersonate-User: lena"
	c.get("/api/v1/namespaces/default/pods", as).is(403, `pods is forbidden: User \"lena\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"`, `"reason":"Forbidden"`)
	c.get("/api/v1/nodes/x", as).is(403, `nodes \"x\" is forbidden: User \"lena\" cannot get resource \"nodes\" in API group \"\" at the cluster scope`)
	c.get("/metrics", as).is(403, `forbidden: User \"lena\" cannot get path \"/metrics\"`)
	c.get("/api/v1/namespaces/default/pods", "Impersonate-Group: x").is(400)
	rbac := "/apis/rbac.authorization.k8s.io/v1/namespaces/default/"
	c.do("POST", rbac+"roles", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"lena"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"resourceNames":["kube-root-ca.crt"],"verbs":["get"]},{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["create","get","update"]}]}`).is(201)
	c.do("POST", rbac+"rolebindings", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"lena"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"lena"},"subjects":[{"kind":"User","name":"lena","apiGroup":"rbac.authorization.k8s.io"}]}`).is(201)
	Eventually(t, 10*time.Second, func() error {
		if a := c.get(cms+"/kube-root-ca.crt", as); a.code != 200 {
			return fmt.Errorf("%d: %s", a.code, a.body)
		}
		return nil
	})
	c.get(cms+"/other", as).is(403)
	c.get(cms, as).is(403)
	// Nobody gives what they do not have.
	c.do("POST", rbac+"roles", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"more"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`, as).
		is(403, "is attempting to grant RBAC permissions not currently held", `{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}`)
	c.do("POST", rbac+"rolebindings", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"more"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"admin"},"subjects":[{"kind":"User","name":"lena","apiGroup":"rbac.authorization.k8s.io"}]}`, as).
		is(403, "is attempting to grant RBAC permissions not currently held")
	c.do("PATCH", rbac+"rolebindings/lena", `{"roleRef":{"name":"other"}}`, "Content-Type: application/merge-patch+json").is(422, "cannot change roleRef")
	// Impersonation needs leave, and says who asks.
	c.get("/api/v1/pods", as, "Impersonate-Group: system:masters").is(200)
	nobody := p.clientOf()
	a := nobody.get("/version", as)
	if a.code != 401 && a.code != 403 {
		t.Errorf("anonymous impersonates: %d: %s", a.code, a.body)
	}
	review := c.do("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"lena","resourceAttributes":{"namespace":"default","verb":"get","resource":"configmaps","name":"kube-root-ca.crt"}}}`).is(201)
	if review.at("status.allowed") != "true" || !strings.Contains(review.body, "RBAC: allowed by RoleBinding") {
		t.Errorf("review: %s", review.body)
	}
	c.do("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{}}`).is(422)
	self := c.do("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`, as, "Impersonate-Extra-Scope: a").is(201)
	if self.at("status.userInfo.username") != "lena" || self.at("status.userInfo.extra.scope.0") != "a" {
		t.Errorf("self review: %s", self.body)
	}
	rules := c.do("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectRulesReview","spec":{"namespace":"default"}}`, as).is(201, "kube-root-ca.crt", "nonResourceURLs")
	if rules.at("status.incomplete") != "false" {
		t.Errorf("rules: %s", rules.body)
	}
}

func apiTokens(t *testing.T, p *Proa, c *client) {
	accounts := "/api/v1/namespaces/default/serviceaccounts"
	c.do("POST", accounts, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"agent"}}`).is(201)
	pods := "/api/v1/namespaces/default/pods"
	c.do("POST", pods, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"bound"},"spec":{"serviceAccountName":"agent","schedulerName":"none","containers":[{"name":"c","image":"i"}]}}`).is(201)
	uid := c.get(pods + "/bound").at("metadata.uid")
	request := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600%s}}`
	c.do("POST", accounts+"/agent/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":5}}`).is(422, "may not specify a duration less than 10 minutes")
	c.do("POST", accounts+"/agent/token", fmt.Sprintf(request, `,"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"bound","uid":"00000000-0000-0000-0000-000000000000"}`)).is(409, "does not match the UID in record")
	c.do("POST", accounts+"/agent/token", fmt.Sprintf(request, `,"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"absent"}`)).is(404)
	c.do("POST", accounts+"/absent/token", fmt.Sprintf(request, "")).is(404)
	token := c.do("POST", accounts+"/agent/token", fmt.Sprintf(request, `,"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"bound","uid":"`+uid+`"}`)).is(201).at("status.token")
	other := c.do("POST", accounts+"/agent/token", fmt.Sprintf(request, `,"audiences":["elsewhere"]`)).is(201).at("status.token")
	nobody := p.clientOf()
	who := func(token string) *answer {
		return nobody.do("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`, "Authorization: Bearer "+token)
	}
	who(token).is(201, "system:serviceaccount:default:agent", "authentication.kubernetes.io/pod-name", "bound", "authentication.kubernetes.io/credential-id")
	who(other).is(401)
	who(token[:len(token)-4] + "AAAA").is(401)
	review := c.do("POST", "/apis/authentication.k8s.io/v1/tokenreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"`+other+`","audiences":["elsewhere"]}}`).is(201)
	if review.at("status.authenticated") != "true" || review.at("status.audiences") != `["elsewhere"]` {
		t.Errorf("token review: %s", review.body)
	}
	if review := c.do("POST", "/apis/authentication.k8s.io/v1/tokenreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"nonsense"}}`).is(201); review.at("status.authenticated") == "true" {
		t.Errorf("token review: %s", review.body)
	}
	c.do("DELETE", pods+"/bound?gracePeriodSeconds=0", "").is(200)
	Eventually(t, 30*time.Second, func() error {
		if a := who(token); a.code != 401 {
			return fmt.Errorf("the token of a deleted pod: %d: %s", a.code, a.body)
		}
		return nil
	})
	long := c.do("POST", accounts+"/agent/token", fmt.Sprintf(request, "")).is(201).at("status.token")
	who(long).is(201)
	c.do("DELETE", accounts+"/agent", "").is(200)
	Eventually(t, 30*time.Second, func() error {
		if a := who(long); a.code != 401 {
			return fmt.Errorf("the token of a deleted account: %d: %s", a.code, a.body)
		}
		return nil
	})
	a := c.get("/.well-known/openid-configuration").is(200, `"issuer"`, `"jwks_uri"`, `"id_token_signing_alg_values_supported"`)
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("discovery of the issuer: %s", a.header)
	}
	c.get("/openid/v1/jwks").is(200, `"keys"`, `"kid"`, `"use":"sig"`)
}

func apiBootstrap(t *testing.T, p *Proa, c *client) {
	secrets := "/api/v1/namespaces/kube-system/secrets"
	c.do("POST", secrets, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"bootstrap-token-abcdef"},"type":"bootstrap.kubernetes.io/token","stringData":{"token-id":"abcdef","token-secret":"0123456789abcdef","usage-bootstrap-authentication":"true","auth-extra-groups":"system:bootstrappers:testers"}}`).is(201)
	nobody := p.clientOf()
	who := func(token string) *answer {
		return nobody.do("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`, "Authorization: Bearer "+token)
	}
	Eventually(t, 10*time.Second, func() error {
		if a := who("abcdef.0123456789abcdef"); a.code != 201 || !strings.Contains(a.body, "system:bootstrap:abcdef") || !strings.Contains(a.body, "system:bootstrappers:testers") {
			return fmt.Errorf("%d: %s", a.code, a.body)
		}
		return nil
	})
	who("abcdef.0123456789abcdee").is(401)
	who("abcdee.0123456789abcdef").is(401)
	c.do("DELETE", secrets+"/bootstrap-token-abcdef", "").is(200)
	Eventually(t, 30*time.Second, func() error {
		if a := who("abcdef.0123456789abcdef"); a.code != 401 {
			return fmt.Errorf("the token of a deleted secret: %d: %s", a.code, a.body)
		}
		return nil
	})
}

func apiSubresources(t *testing.T, _ *Proa, c *client) {
	c.do("POST", deps, deployment("sub")).is(201)
	c.do("PATCH", deps+"/sub/status", `{"spec":{"replicas":9},"status":{"observedGeneration":1}}`, "Content-Type: application/merge-patch+json").is(200)
	if a := c.get(deps + "/sub"); a.at("spec.replicas") != "1" {
		t.Errorf("status wrote the spec: %s", a.at("spec"))
	}
	c.do("PATCH", deps+"/sub", `{"status":{"replicas":77}}`, "Content-Type: application/merge-patch+json").is(200)
	if a := c.get(deps + "/sub"); a.at("status.replicas") == "77" {
		t.Errorf("the spec wrote status: %s", a.at("status"))
	}
	scale := c.get(deps + "/sub/scale").is(200)
	if scale.at("kind") != "Scale" || scale.at("apiVersion") != "autoscaling/v1" || scale.at("status.selector") != "app=sub" {
		t.Errorf("scale: %s", scale.body)
	}
	c.do("PUT", deps+"/sub/scale", strings.Replace(scale.body, `"spec":{"replicas":1}`, `"spec":{"replicas":-1}`, 1)).is(422, "spec.replicas")
	c.do("PUT", deps+"/sub/scale", strings.Replace(scale.body, `"resourceVersion":"`, `"resourceVersion":"1`, 1)).is(409)
	c.do("POST", deps+"/sub/scale", scale.body).is(405)
	c.do("DELETE", deps+"/sub", "").is(200)
	pods := "/api/v1/namespaces/default/pods"
	pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"sub"},"spec":{"schedulerName":"none","containers":[{"name":"c","image":"i"}]}}`
	c.do("POST", pods, pod).is(201)
	c.get(pods + "/sub/log").is(204) // no node, nothing to read
	c.get(pods+"/sub/log?tailLines=-1").is(422, "tailLines")
	c.get(pods+"/sub/log?container=absent").is(400, "container absent is not valid for pod sub")
	c.get(pods + "/absent/log").is(404)
	c.do("POST", pods+"/sub/exec?command=ls&container=c", "").is(400)
	c.get(pods + "/absent/exec?command=ls").is(404)
	c.do("POST", pods+"/sub/binding", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"sub"},"target":{"kind":"Node","name":"absent"}}`).is(201)
	c.do("POST", pods+"/sub/binding", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"sub"},"target":{"kind":"Node","name":"other"}}`).is(409, "is already assigned to node")
	c.do("PATCH", pods+"/sub/ephemeralcontainers", `{"spec":{"ephemeralContainers":[{"name":"e","image":"i","ports":[{"containerPort":80}]}]}}`, "Content-Type: application/strategic-merge-patch+json").is(422, "cannot be set for an Ephemeral Container")
	c.do("PATCH", pods+"/sub/ephemeralcontainers", `{"spec":{"ephemeralContainers":[{"name":"e","image":"i"}]}}`, "Content-Type: application/strategic-merge-patch+json").is(200)
	c.do("PATCH", pods+"/sub/ephemeralcontainers", `{"spec":{"ephemeralContainers":[{"name":"e","image":"j"}]}}`, "Content-Type: application/strategic-merge-patch+json").is(422, "existing ephemeral containers")
	c.do("POST", pods+"/sub/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"sub"},"deleteOptions":{"dryRun":["All"]}}`).is(201, `"status":"Success"`)
	c.get(pods + "/sub").is(200)
	c.do("POST", pods+"/sub/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"sub"},"deleteOptions":{"gracePeriodSeconds":0}}`).is(201)
	c.get(pods + "/sub").is(404)
	c.do("POST", pods+"/absent/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"absent"}}`).is(404)
	c.get("/api/v1/namespaces/default/services/absent/proxy/").is(404)
	c.get("/api/v1/nodes/absent/proxy/healthz").is(404)
	c.do("PUT", "/api/v1/namespaces/default/finalize", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"},"spec":{"finalizers":["kubernetes"]}}`).is(200)
}

// apiDefaults creates the least of some kinds and looks at what the server adds.
func apiDefaults(t *testing.T, _ *Proa, c *client) {
	for _, k := range []struct{ path, body, at, want string }{
		{"/api/v1/namespaces/default/pods", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"d"},"spec":{"schedulerName":"none","containers":[{"name":"c","image":"repo/i:latest"}]}}`, "spec.containers.0.imagePullPolicy", "Always"},
		{"/api/v1/namespaces/default/services", `{"apiVersion":"v1","kind":"Service","metadata":{"name":"d"},"spec":{"ports":[{"port":80}]}}`, "spec.ports.0.targetPort", "80"},
		{"/apis/apps/v1/namespaces/default/daemonsets", `{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"nodeSelector":{"x":"y"},"containers":[{"name":"c","image":"i"}]}}}}`, "spec.updateStrategy.rollingUpdate.maxUnavailable", "1"},
		{"/apis/batch/v1/namespaces/default/jobs", `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"d"},"spec":{"suspend":true,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}`, "spec.backoffLimit", "6"},
		{"/apis/coordination.k8s.io/v1/namespaces/default/leases", `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"d"}}`, "metadata.name", "d"},
		{"/apis/scheduling.k8s.io/v1/priorityclasses", `{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"d"},"value":1}`, "preemptionPolicy", "PreemptLowerPriority"},
		{"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", `{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"d"},"addressType":"IPv4","endpoints":[],"ports":[{"port":80}]}`, "ports.0.protocol", "TCP"},
		{"/apis/events.k8s.io/v1/namespaces/default/events", `{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"d"},"eventTime":"2026-01-01T00:00:00.000000Z","reportingController":"x.y/z","reportingInstance":"i","action":"a","reason":"r","type":"Normal","regarding":{"kind":"Pod","name":"p","namespace":"default"}}`, "reason", "r"},
		{"/apis/apps/v1/namespaces/default/controllerrevisions", `{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"d"},"revision":1,"data":{"a":1}}`, "data.a", "1"},
	} {
		a := c.do("POST", k.path, k.body).is(201)
		if got := a.at(k.at); got != k.want {
			t.Errorf("%s: %s is %q, want %q", k.path, k.at, got, k.want)
		}
		c.do("PUT", k.path+"/d", k.body)
		c.get(k.path+"/d", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io").is(200, `"kind":"Table"`)
		c.do("DELETE", k.path+"/d?gracePeriodSeconds=0", "").is(200)
	}
	c.do("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", `{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"system-mine"},"value":1}`).is(422, "system-")
	c.do("POST", "/apis/batch/v1/namespaces/default/jobs", `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"d"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}}`).is(422, "spec.template.spec.restartPolicy")
}

// apiRestart holds a version over a restart of the server. A new server's watch
// cache starts at its first list: what is older is either delivered or refused
// with 410, upon which clients list anew; nothing is passed over in silence.
func apiRestart(t *testing.T, p *Proa) {
	c := p.In(t).client()
	version := c.do("POST", cms, configMap("before")).is(201).at("metadata.resourceVersion")
	c.do("POST", cms, configMap("missed")).is(201)
	p.Stop()
	p.Start()
	c = p.In(t).client()
	const query = cms + "?watch=true&allowWatchBookmarks=true&labelSelector=set%3Dapi&resourceVersion="
	next := c.watch(query + version)
	c.do("POST", cms, configMap("after")).is(201)
	want := []string{"missed", "after"}
	e := next()
	if e.Type == "ERROR" && e.Object.Code == 410 {
		list := c.get(cms+"?labelSelector=set%3Dapi").is(200, `"before"`, `"missed"`, `"after"`)
		next = c.watch(query + list.at("metadata.resourceVersion"))
		c.do("POST", cms, configMap("later")).is(201)
		want, e = []string{"later"}, next()
	}
	for _, name := range want {
		if e.Type != "ADDED" || e.Object.Metadata.Name != name {
			t.Fatalf("after the restart: %+v, want %s", e, name)
		}
		if name != want[len(want)-1] {
			e = next()
		}
	}
	c.do("DELETE", cms+"?labelSelector=set%3Dapi", "").is(200)
	if strings.Contains(c.get(cms).body, `"missed"`) {
		t.Error("what was deleted is there")
	}
}

// dial connects from within the machine's network. The thread that entered it
// is thrown away with the goroutine; the socket stays in the namespace.
func (m *Machine) dial(address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open("/run/netns/" + m.ns)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer func() { _ = ns.Close() }()
		setns, ok := map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH]
		if !ok {
			done <- result{err: fmt.Errorf("setns: its number on %s is not known here", runtime.GOARCH)}
			return
		}
		if _, _, errno := syscall.RawSyscall(setns, ns.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
			done <- result{err: fmt.Errorf("setns %s: %w", m.ns, errno)}
			return
		}
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
