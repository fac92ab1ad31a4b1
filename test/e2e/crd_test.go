package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// widgets is a custom resource with everything a schema can ask for, in two versions.
const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.e2e.example}
spec:
  group: e2e.example
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all, gadgets]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: &schema
      openAPIV3Schema:
        type: object
        description: Widget is what these tests make.
        properties:
          spec:
            type: object
            description: what is wanted
            required: [color]
            x-kubernetes-validations:
            - {rule: "self.minimum <= self.replicas", message: replicas are below the minimum}
            properties:
              color: {type: string, enum: [red, green], description: the color of the widget, x-kubernetes-validations: [{rule: self == oldSelf, message: the color stays}]}
              replicas: {type: integer, default: 2, maximum: 10}
              minimum: {type: integer, default: 0}
              size: {x-kubernetes-int-or-string: true}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              parts: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, count: {type: integer}}}}
          status:
            type: object
            properties: {replicas: {type: integer}, selector: {type: string}, phase: {type: string}}
    subresources: &subresources
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    additionalPrinterColumns: &columns
    - {name: Color, type: string, jsonPath: .spec.color}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Phase, type: string, jsonPath: .status.phase, priority: 1}
    selectableFields: &fields [{jsonPath: .spec.color}]
  - {name: v1beta1, served: true, storage: false, deprecated: true, schema: *schema, subresources: *subresources, additionalPrinterColumns: *columns, selectableFields: *fields}
`

// TestCustomResources defines a kind of its own and lives with it until both
// are gone, and points an APIService at nothing.
func TestCustomResources(t *testing.T) {
	p := newCluster(t, "--no-node")
	customResources(t, p)
	p.unharmed(t)
}

func customResources(t *testing.T, p *Proa) {
	p.Apply(widgets)
	p.Kubectl("wait", "--for=condition=Established", "crd/widgets.e2e.example", "--timeout=20s")
	t.Run("objects", func(t *testing.T) { crdObjects(t, p.In(t)) })
	t.Run("schema", func(t *testing.T) { crdSchema(t, p.In(t)) })
	t.Run("versions", func(t *testing.T) { crdVersions(t, p.In(t)) })
	t.Run("garbage collection", func(t *testing.T) { crdOwners(t, p.In(t)) })
	t.Run("bad definitions", func(t *testing.T) { crdBad(t, p.In(t)) })
	t.Run("authorization", func(t *testing.T) { crdRBAC(t, p.In(t)) })
	t.Run("an API service without a backend", func(t *testing.T) { apiServiceMissing(t, p.In(t)) })
	t.Run("deletion", func(t *testing.T) { crdDeletion(t, p.In(t)) })
}

func widget(name, spec string) string {
	return "apiVersion: e2e.example/v1\nkind: Widget\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

func crdObjects(t *testing.T, p *Proa) {
	Eventually(t, 20*time.Second, func() error {
		if out, err := p.tryFeed(widget("one", "{color: red, pruned: x, free: {any: thing}, size: 50%}"), "apply", "--validate=false", "-f", "-"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	p.says(words("get widgets"), "NAME", "COLOR", "REPLICAS", "one", "red", "2")
	p.says(words("get wd -o wide"), "PHASE")
	p.says(words("get gadgets -o name"), "widget.e2e.example/one")
	p.says(words("get all"), "widget.e2e.example/one")
	if out := p.Kubectl("get", "widget", "one", "-o", "json"); strings.Contains(out, `"pruned": "x"`) || !strings.Contains(out, `"any": "thing"`) || !strings.Contains(out, `"minimum": 0`) {
		t.Errorf("defaults and pruning: %s", out)
	}
	p.EventuallySays("the color of the widget", 20*time.Second, "explain", "widget.spec.color")
	p.says(words("explain widgets --recursive"), "GROUP:      e2e.example", "replicas")
	p.says(words("api-resources --api-group=e2e.example -o wide"), "wd", "Widget", "gadgets")
	p.says(words("scale widget one --replicas=5"), "scaled")
	p.says(words("get widget one -o jsonpath={.spec.replicas}"), "5")
	p.refuses(words("scale widget one --replicas=50"), "spec.replicas")
	p.Kubectl("patch", "widget", "one", "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Busy","replicas":5,"selector":"a=b"},"spec":{"replicas":9}}`)
	p.says(words("get widget one -o jsonpath={.status.phase}/{.spec.replicas}/{.metadata.generation}"), "Busy/5/2")
	p.says(words("get widget one --subresource=scale -o jsonpath={.status.selector}/{.status.replicas}"), "a=b/5")
	p.says(words("get widgets --field-selector=spec.color=red -o name"), "widget.e2e.example/one")
	p.says(words("get widgets --field-selector=spec.color=green"), "No resources found")
	p.says(words("describe widget one"), "Color:", "red")
	p.says(words("wait --for=jsonpath={.status.phase}=Busy widget/one --timeout=5s"), "condition met")
	watch := p.background(nil, bin("tools/kubectl"), "get", "widgets", "-w", "--output-watch-events")
	watch.eventually(t, "ADDED", 10*time.Second)
	p.Kubectl("label", "widget", "one", "seen=yes")
	watch.eventually(t, "MODIFIED", 10*time.Second)
	// Server-side apply knows the schema's list maps.
	p.feed(widget("one", "{color: red, parts: [{name: a, count: 1}]}"), "apply", "--server-side", "--field-manager=x", "-f", "-")
	p.feed(widget("one", "{color: red, parts: [{name: b, count: 2}]}"), "apply", "--server-side", "--field-manager=y", "-f", "-")
	p.says(words("get widget one -o jsonpath={.spec.parts[*].name}"), "a b")
	p.refuses([]string{"patch", "widget", "one", "-p", `{}`}, "application/strategic-merge-patch+json is not supported by e2e.example/v1")
}

func crdSchema(t *testing.T, p *Proa) {
	for spec, want := range map[string]string{
		"{color: blue}":                               `Unsupported value: "blue": supported values: "red", "green"`,
		"{}":                                          "spec.color: Required value",
		"{color: red, replicas: 11}":                  "should be less than or equal to 10",
		"{color: red, replicas: many}":                `must be of type integer: "string"`,
		"{color: red, replicas: 1, minimum: 3}":       "replicas are below the minimum",
		"{color: red, nonsense: 1}":                   `unknown field "spec.nonsense"`,
		"{color: red, parts: [{name: a}, {name: a}]}": "Duplicate value",
	} {
		if out, err := p.tryFeed(widget("bad", spec), "create", "-f", "-"); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: no %q in %s", spec, err, want, out)
		}
	}
	p.refuses([]string{"patch", "widget", "one", "--type=merge", "-p", `{"spec":{"color":"green"}}`}, "the color stays")
	c := p.client()
	path := "/apis/e2e.example/v1/namespaces/default/widgets"
	body := `{"apiVersion":"e2e.example/v1","kind":"Widget","metadata":{"name":"raw"},"spec":{"color":"blue"}}`
	c.do("POST", path, body).is(422, `"field":"spec.color"`, `"reason":"FieldValueNotSupported"`)
	c.do("POST", path+"?fieldValidation=Strict", strings.Replace(body, `"blue"`, `"red","odd":1`, 1)).is(400, `unknown field \"spec.odd\"`)
	c.do("POST", path, strings.Replace(body, `"blue"`, `"red"},"x":{`+strings.Repeat(`"a":{`, 10001)+strings.Repeat("}", 10001), 1)).is(400)
	c.do("POST", path+"?dryRun=All", strings.Replace(body, "blue", "red", 1)).is(201)
	c.get(path+"/raw").is(404, `widgets.e2e.example \"raw\" not found`)
	c.get(path, "Accept: application/vnd.kubernetes.protobuf").is(406)
	c.get(path+"?limit=1", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io").is(200, `"kind":"Table"`, `"name":"Color"`)
	c.get(path+"/one", "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").is(200, `"kind":"PartialObjectMetadata"`)
}

func crdVersions(t *testing.T, p *Proa) {
	c := p.client()
	a := c.get("/apis/e2e.example/v1beta1/namespaces/default/widgets/one").is(200, `"apiVersion":"e2e.example/v1beta1"`)
	if w := a.header.Get("Warning"); !strings.Contains(w, "e2e.example/v1beta1 Widget is deprecated") {
		t.Errorf("Warning: %q", w)
	}
	c.get("/apis/e2e.example/v1/namespaces/default/widgets/one").is(200, `"apiVersion":"e2e.example/v1"`)
	c.get("/apis/e2e.example/v2/namespaces/default/widgets/one").is(404)
	c.get("/openapi/v3/apis/e2e.example/v1").is(200, "example.e2e.v1.Widget")
	if got := c.get("/apis/e2e.example").is(200).at("preferredVersion.version"); got != "v1" {
		t.Errorf("preferred version %q", got)
	}
	p.says(words("get crd widgets.e2e.example -o jsonpath={.status.storedVersions}"), `["v1"]`)
}

func crdOwners(t *testing.T, p *Proa) {
	owned := func(kind string) string {
		uid := p.Kubectl("get", "widget", "one", "-o", "jsonpath={.metadata.uid}")
		return fmt.Sprintf("apiVersion: %s\nmetadata: {name: owned, ownerReferences: [{apiVersion: e2e.example/v1, kind: Widget, name: one, uid: %s, blockOwnerDeletion: true}]}\n", kind, uid)
	}
	p.Apply(owned("v1\nkind: ConfigMap"))
	p.Apply(owned("e2e.example/v1\nkind: Widget") + "spec: {color: green}\n")
	p.Kubectl("delete", "widget", "one", "--cascade=foreground", "--timeout=60s")
	p.refuses(words("get configmap owned"), "NotFound")
	p.refuses(words("get widget owned"), "NotFound")
}

func crdBad(_ *testing.T, p *Proa) {
	c := p.client()
	crds := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	body := `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%s"},"spec":{"group":"e2e.example","scope":"Namespaced","names":{"plural":"bads","kind":"Bad"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":%s}}]}}`
	c.do("POST", crds, fmt.Sprintf(body, "other.name", `{"type":"object"}`)).is(422, "metadata.name", "must be spec.names.plural+")
	c.do("POST", crds, fmt.Sprintf(body, "bads.e2e.example", `{"type":"object","properties":{"spec":{}}}`)).is(422, "must not be empty for specified object fields")
	c.do("POST", crds, fmt.Sprintf(body, "bads.e2e.example", `{"type":"object","x-kubernetes-validations":[{"rule":"self.nonsense > 1"}]}`)).is(422, "undefined field 'nonsense'")
	c.do("POST", crds, fmt.Sprintf(body, "bads.e2e.example", `{"type":"object","properties":{"a":{"type":"integer","default":"x"}}}`)).is(422, "must be of type integer")
	// A second kind under names that are taken is not established.
	p.Apply(strings.NewReplacer("name: widgets.e2e", "name: gizmos.e2e", "plural: widgets", "plural: gizmos", "singular: widget", "singular: gizmo").Replace(widgets))
	p.EventuallySays(`NamesAccepted=False`, 20*time.Second, "get", "crd", "gizmos.e2e.example", "-o", `jsonpath={range .status.conditions[*]}{.type}={.status} {end}`)
	p.Kubectl("delete", "crd", "gizmos.e2e.example", "--timeout=30s")
}

func crdRBAC(_ *testing.T, p *Proa) {
	p.refuses(words("get widgets --as=nobody"), `widgets.e2e.example is forbidden: User "nobody" cannot list resource "widgets" in API group "e2e.example" in the namespace "default"`)
	p.feed(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: widgets, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
rules: [{apiGroups: [e2e.example], resources: [widgets], verbs: [get, list, watch]}]
`, "apply", "-f", "-")
	p.Kubectl("create", "rolebinding", "seer", "--clusterrole=view", "--user=seer")
	p.EventuallySays("yes", 20*time.Second, "auth", "can-i", "list", "widgets.e2e.example", "--as=seer")
}

func apiServiceMissing(_ *testing.T, p *Proa) {
	p.Apply(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.absent.example}
spec: {group: absent.example, version: v1, groupPriorityMinimum: 100, versionPriority: 10, insecureSkipTLSVerify: true, service: {name: absent, namespace: default}}
`)
	p.EventuallySays("False (ServiceNotFound)", 20*time.Second, "get", "apiservice", "v1.absent.example")
	p.says([]string{"get", "apiservice", "v1.absent.example", "-o", "jsonpath={.status.conditions[0].message}"}, "service/absent in \"default\" is not present")
	p.says(words("get apiservice v1.apps"), "Local", "True")
	c := p.client()
	c.get("/apis/absent.example/v1").is(503, "service unavailable")
	c.get("/apis").is(200, `"apps"`)
	c.get("/apis", "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").is(200, `"apps"`)
	p.says(words("get widgets,configmaps"), "kube-root-ca.crt")
	p.says(words("get --raw /openapi/v3"), "apis/apps/v1")
	// Who deletes a namespace has to know all that may be in it.
	p.Kubectl("create", "namespace", "leaving")
	p.Kubectl("delete", "namespace", "leaving", "--wait=false")
	p.EventuallySays("DiscoveryFailed", 20*time.Second, "get", "namespace", "leaving", "-o", "jsonpath={.status.conditions}")
	p.Kubectl("delete", "apiservice", "v1.absent.example")
	p.Kubectl("wait", "--for=delete", "namespace/leaving", "--timeout=60s")
	p.EventuallySays("apps/v1", 20*time.Second, "api-versions")
}

func crdDeletion(t *testing.T, p *Proa) {
	p.Kubectl("create", "namespace", "factory")
	for _, ns := range []string{"factory", "default"} {
		p.feed(widget("made", "{color: red}"), "apply", "-n", ns, "-f", "-")
	}
	p.Kubectl("delete", "namespace", "factory", "--timeout=60s")
	p.Kubectl("create", "namespace", "factory")
	p.says(words("get widgets -n factory"), "No resources found")
	p.says(words("get widgets"), "made")
	p.Kubectl("patch", "widget", "made", "--type=merge", "-p", `{"metadata":{"finalizers":["example.org/hold"]}}`)
	p.Kubectl("delete", "crd", "widgets.e2e.example", "--wait=false")
	p.EventuallySays("Terminating=True", 20*time.Second, "get", "crd", "widgets.e2e.example", "-o", `jsonpath={range .status.conditions[*]}{.type}={.status} {end}`)
	p.Kubectl("patch", "widget", "made", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	p.Kubectl("wait", "--for=delete", "crd/widgets.e2e.example", "--timeout=60s")
	Eventually(t, 20*time.Second, func() error {
		if a := p.client().get("/apis/e2e.example/v1/widgets"); a.code != 404 {
			return fmt.Errorf("after the kind: %d: %.200s", a.code, a.body)
		}
		return nil
	})
	// The same kind again: nothing of the old is there.
	p.Apply(widgets)
	p.EventuallySays("No resources found", 20*time.Second, "get", "widgets", "-A")
	p.Kubectl("delete", "crd", "widgets.e2e.example", "--timeout=60s")
}
