package kind

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Object is what every stored kind's Go type is: a pointer to a k8s.io/api struct.
type Object interface {
	runtime.Object
	metav1.Object
}

// Kind describes one stored API kind. Only GVK, Resource, New and NewList are
// required; every nil function means "nothing beyond what all kinds do".
//
// All functions may mutate only the object they are told to prepare or default,
// never the old one, and must not panic on any decoded input.
type Kind[T Object] struct {
	// GVK is the preferred served version and the Go type's kind.
	GVK schema.GroupVersionKind
	// Resource is the plural, lower-case name in paths ("configmaps").
	Resource string
	// Singular is the singular name; empty means the lower-cased kind.
	Singular   string
	ShortNames []string
	// Categories are the groups kubectl resolves ("all").
	Categories    []string
	ClusterScoped bool
	// New and NewList return empty objects of the Go type and its list.
	New     func() T
	NewList func() runtime.Object

	// Default fills what the user left out; it runs when an object is decoded
	// (requests and storage), so it must be idempotent.
	Default func(T)
	// Canonicalize runs after validation, to drop redundant forms.
	Canonicalize func(T)

	// PrepareForCreate resets what a creator may not set (status, ...).
	PrepareForCreate func(ctx context.Context, obj T)
	// PrepareForUpdate takes back from old what an update may not change (status, ...).
	PrepareForUpdate func(ctx context.Context, obj, old T)
	// Spec returns a pointer to the part whose change bumps metadata.generation;
	// nil for kinds that have no generation.
	Spec func(T) any
	// EmptyIsChange counts an empty list or map in place of none as a change of Spec.
	EmptyIsChange bool

	// ValidateName checks metadata.name (and generateName with prefix=true);
	// nil means DNS-1123 subdomain.
	ValidateName func(name string, prefix bool) []string
	// GenerateName says which writes have metadata.generateName checked by ValidateName.
	GenerateName PrefixRule
	// PlainMetadata leaves metadata to the checks of the generic registry, which come
	// after a successful validation.
	PlainMetadata bool
	// Validate returns what is wrong beyond metadata, which the adapter checks.
	Validate func(ctx context.Context, obj T) field.ErrorList
	// ValidateUpdate returns what is wrong with the change, metadata excepted. The
	// adapter calls Validate on the new object too unless UpdateValidatesAlone.
	ValidateUpdate       func(ctx context.Context, obj, old T) field.ErrorList
	UpdateValidatesAlone bool
	// Warnings are sent to the client with an accepted write; old is the zero
	// value of T (nil) on create.
	Warnings func(ctx context.Context, obj, old T) []string

	// AllowCreateOnUpdate lets PUT create (leases, service accounts: no; most: no).
	AllowCreateOnUpdate bool
	// RefuseUnconditionalUpdate demands a resourceVersion on PUT (upstream's
	// AllowUnconditionalUpdate()==false).
	RefuseUnconditionalUpdate bool

	// Columns are those of `kubectl get`; nil means Name and Age ("Created At").
	Columns []Column[T]
	// RowOrder sorts the rows of a table; nil leaves them in the order of names.
	RowOrder func(a, b T) int
	// Conditions marks a table row (completed pods are filtered on it); may be nil.
	Conditions func(T) []metav1.TableRowCondition

	// Fields are the selectable fields beyond metadata.name and metadata.namespace.
	Fields map[string]func(T) string
	// FieldAliases are further labels for some of Fields; FieldRefusal is the message
	// for any other label, a format for it, "field label not supported: %s" if empty.
	// A kind without Fields answers as the library does for metadata only.
	FieldAliases map[string]string
	FieldRefusal string
	// IndexedFields names Fields (or "metadata.name") that the watch cache indexes.
	IndexedFields []string

	// ResetFields are the paths of which writes of the main resource own nothing;
	// nil means "status" where there is one.
	ResetFields []string
	// Status describes the /status subresource; nil for none.
	Status *Status[T]
	// Grace enables graceful deletion: it may set options.GracePeriodSeconds and
	// returns whether to delete gracefully (RESTGracefulDeleteStrategy).
	Grace func(ctx context.Context, obj T, options *metav1.DeleteOptions) bool
	// ReturnDeleted answers a deletion with the deleted object instead of a Status
	// (upstream's ReturnDeletedObject).
	ReturnDeleted bool
	// OrphanByDefault keeps dependents on deletion without a propagation policy.
	OrphanByDefault bool
	// NoDependents says that nothing can belong to the kind's objects: propagation
	// policies have no effect on them (events).
	NoDependents bool
	// TTL is how long objects are kept after each write (events); nil for ever.
	TTL func(d *Deps) time.Duration

	// StoragePrefix replaces Resource in the etcd key ("services/specs").
	StoragePrefix string
	// StorageGroupResource names the storage another kind already has (events.k8s.io
	// events live with core events); zero for its own.
	StorageGroupResource schema.GroupResource

	// Extend adds what needs dependencies: it may set hooks on r.Store
	// (BeginCreate, AfterDelete, ...), may return another main storage (usually a
	// struct embedding *REST), and further subresources keyed by name ("scale").
	Extend func(d *Deps, r *REST) (main rest.Storage, subresources map[string]rest.Storage, err error)
}

// PrefixRule says when the prefix of a generated name is checked; upstream's kinds
// differ in it.
type PrefixRule int

const (
	// PrefixByDefault: on create, and on update unless UpdateValidatesAlone.
	PrefixByDefault PrefixRule = iota
	// PrefixAlways: on create and update.
	PrefixAlways
	// PrefixEverywhere: on an update of the status too.
	PrefixEverywhere
	// PrefixOnCreate: on create only.
	PrefixOnCreate
	// PrefixNever: only the name that was made of it is checked.
	PrefixNever
)

// In is the kind in another version of its group, served from the same storage.
func (k *Kind[T]) In(version string) *Kind[T] {
	other := *k
	other.GVK.Version = version
	return &other
}

// Status describes a /status subresource.
type Status[T Object] struct {
	// NoTable refuses to print /status as a table.
	NoTable bool
	// ResetFields are the paths ("metadata.labels") that server-side apply ignores on
	// /status; nil means "spec".
	ResetFields []string
	// Prepare takes back from old everything that a status writer may not change.
	Prepare func(ctx context.Context, obj, old T)
	// Validate checks the status update, metadata excepted.
	Validate func(ctx context.Context, obj, old T) field.ErrorList
}

// Virtual is a kind without storage (reviews, bindings): create-only or otherwise special.
type Virtual struct {
	GVK        schema.GroupVersionKind
	Resource   string
	ShortNames []string
	// New builds its storage; it states scope through rest.Scoper.
	New func(d *Deps) (rest.Storage, error)
	// Default, when set, is registered as the defaulting function of Prototype's type.
	Prototype runtime.Object
	Default   func(runtime.Object)
}

// REST is the main storage of a kind: the generic store plus the names that discovery shows.
type REST struct {
	*genericregistry.Store
	shortNames []string
	categories []string
}

// Main returns the storage itself; kinds that embed REST pass it on.
func (r *REST) Main() *REST { return r }

// ShortNames implements rest.ShortNamesProvider.
func (r *REST) ShortNames() []string { return r.shortNames }

// Categories implements rest.CategoriesProvider.
func (r *REST) Categories() []string { return r.categories }

// Any is a kind with its Go type forgotten, as lists hold it: Kind[T] or Virtual.
type Any interface {
	// Description names the kind.
	Description() Description
	// Register adds defaulting and field-label conversion to the scheme.
	Register(scheme *runtime.Scheme) error
	// Build makes its storages, keyed as the generic server wants them:
	// "pods", "pods/status", ...
	Build(d *Deps) (map[string]rest.Storage, error)
}

// Description is the part of a kind that lists and tests need.
type Description struct {
	GVK           schema.GroupVersionKind
	Resource      string
	ClusterScoped bool
	Stored        bool
	// StoragePrefix as in Kind.
	StoragePrefix string
	// New returns an empty object; nil where a virtual kind has no prototype.
	New func() runtime.Object
}

// GroupResource is the kind's resource name with its group.
func (d Description) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: d.GVK.Group, Resource: d.Resource}
}
