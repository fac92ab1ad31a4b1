package authentication

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"

	"proa/apis/kind"
)

const (
	defaultTokenSeconds = 60 * 60
	minTokenSeconds     = 10 * 60
	maxTokenSeconds     = 1 << 32
)

func tokenRequestGVK() schema.GroupVersionKind {
	return authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")
}

// tokenREST is serviceaccounts/token.
type tokenREST struct{ d *kind.Deps }

// AddDefaults registers the defaults of TokenRequest, which is no kind of its own.
func AddDefaults(scheme *runtime.Scheme) error {
	scheme.AddTypeDefaultingFunc(&authenticationv1.TokenRequest{}, func(o any) { defaultTokenRequest(o.(*authenticationv1.TokenRequest)) })
	return nil
}

func defaultTokenRequest(req *authenticationv1.TokenRequest) {
	if req.Spec.ExpirationSeconds == nil {
		seconds := int64(defaultTokenSeconds)
		req.Spec.ExpirationSeconds = &seconds
	}
}

// NewTokenREST is the token subresource of ServiceAccount: create a TokenRequest
// there and its status holds a token.
func NewTokenREST(d *kind.Deps) rest.Storage { return &tokenREST{d} }

var (
	_ rest.NamedCreater                   = &tokenREST{}
	_ rest.GroupVersionKindProvider       = &tokenREST{}
	_ rest.SubresourceObjectMetaPreserver = &tokenREST{}
)

func (r *tokenREST) New() runtime.Object { return &authenticationv1.TokenRequest{} }
func (r *tokenREST) Destroy()            {}

// GroupVersionKind implements rest.GroupVersionKindProvider.
func (r *tokenREST) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return tokenRequestGVK()
}

// PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate keeps the uid a client sends, to be compared.
func (r *tokenREST) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return true }

// Create implements rest.NamedCreater.
func (r *tokenREST) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	req, ok := obj.(*authenticationv1.TokenRequest)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a TokenRequest: %#v", obj))
	}
	namespace, ok := request.NamespaceFrom(ctx)
	if !ok {
		return nil, apierrors.NewBadRequest("namespace is required")
	}
	invalid := func(errs ...*field.Error) error {
		return apierrors.NewInvalid(tokenRequestGVK().GroupKind(), name, errs)
	}
	if req.Name != "" && req.Name != name {
		return nil, invalid(field.Invalid(field.NewPath("metadata", "name"), req.Name, "must match the service account name if specified"))
	}
	if req.Namespace != "" && req.Namespace != namespace {
		return nil, invalid(field.Invalid(field.NewPath("metadata", "namespace"), req.Namespace, "must match the service account namespace if specified"))
	}
	sa, err := get[*corev1.ServiceAccount](ctx, r.d, "serviceaccounts", name)
	if err != nil {
		return nil, err
	}
	if req.UID != "" && req.UID != sa.UID {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: authenticationv1.GroupName, Resource: "TokenRequest"}, name,
			fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", req.UID, sa.UID))
	}
	if len(req.Spec.Audiences) == 0 {
		req.Spec.Audiences = r.d.APIAudiences
	}
	req.Name, req.Namespace, req.UID = sa.Name, sa.Namespace, sa.UID
	req.CreationTimestamp = metav1.NewTime(r.d.Clock.Now())
	req.Status = authenticationv1.TokenRequestStatus{}
	defaultTokenRequest(req)
	seconds, path := *req.Spec.ExpirationSeconds, field.NewPath("spec", "expirationSeconds")
	switch {
	case seconds < minTokenSeconds:
		return nil, apierrors.NewInvalid(tokenRequestGVK().GroupKind(), "", field.ErrorList{field.Invalid(path, seconds, "may not specify a duration less than 10 minutes")})
	case seconds > maxTokenSeconds:
		return nil, apierrors.NewInvalid(tokenRequestGVK().GroupKind(), "", field.ErrorList{field.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")})
	}
	if validate != nil {
		if err := validate(ctx, obj.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	bound, err := r.bind(ctx, name, req.Spec.BoundObjectRef)
	if err != nil {
		return nil, err
	}
	if limit := int64(r.d.Tokens.MaxLifetime() / time.Second); limit > 0 && seconds > limit {
		warning.AddWarning(ctx, "", fmt.Sprintf("requested expiration of %d seconds shortened to %d seconds", seconds, limit))
		seconds = limit
		req.Spec.ExpirationSeconds = &seconds
	}
	token, expires, err := r.d.Tokens.Issue(ctx, sa, bound, req.Spec.Audiences, time.Duration(seconds)*time.Second)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("failed to generate token: %w", err))
	}
	out := req.DeepCopy()
	out.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(expires)}
	return out, nil
}

// bind finds the object a token is to be bound to.
func (r *tokenREST) bind(ctx context.Context, account string, ref *authenticationv1.BoundObjectReference) (kind.BoundObject, error) {
	if ref == nil {
		return kind.BoundObject{}, nil
	}
	bound := kind.BoundObject{Ref: *ref}
	gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	var uid types.UID
	switch {
	case gvk.Group == "" && gvk.Kind == "Pod":
		pod, err := get[*corev1.Pod](ctx, r.d, "pods", ref.Name)
		if err != nil {
			return bound, err
		}
		if pod.Spec.ServiceAccountName != account {
			return bound, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account))
		}
		uid = pod.UID
		if bound.NodeName = pod.Spec.NodeName; bound.NodeName != "" {
			node, err := get[*corev1.Node](ctx, r.d, "nodes", bound.NodeName)
			switch {
			case err == nil:
				bound.NodeUID = node.UID
			case !apierrors.IsNotFound(err): // a node that is gone is still named
				return bound, apierrors.NewInternalError(err)
			}
		}
	case gvk.Group == "" && gvk.Kind == "Node":
		node, err := get[*corev1.Node](ctx, r.d, "nodes", ref.Name)
		if err != nil {
			return bound, err
		}
		uid = node.UID
	case gvk.Group == "" && gvk.Kind == "Secret":
		secret, err := get[*corev1.Secret](ctx, r.d, "secrets", ref.Name)
		if err != nil {
			return bound, err
		}
		uid = secret.UID
	default:
		return bound, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk))
	}
	if ref.UID != "" && ref.UID != uid {
		return bound, apierrors.NewConflict(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, ref.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	bound.Ref.UID = uid
	return bound, nil
}

// get reads a core object from its storage, in the request's namespace.
func get[T runtime.Object](ctx context.Context, d *kind.Deps, resource, name string) (T, error) {
	var none T
	store := d.StoreOf(corev1.Resource(resource))
	if store == nil {
		return none, apierrors.NewInternalError(fmt.Errorf("%s are not served", resource))
	}
	// Errors name the resource of the request.
	namespace, _ := request.NamespaceFrom(ctx)
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, Verb: "get", APIVersion: "v1", Resource: resource, Name: name, Namespace: namespace})
	o, err := store.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return none, err
	}
	t, ok := o.(T)
	if !ok {
		return none, apierrors.NewInternalError(fmt.Errorf("storage of %s holds a %T", resource, o))
	}
	return t, nil
}
