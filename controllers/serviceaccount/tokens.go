package serviceaccount

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	jose "github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"proa/controllers/control"
)

// Tokens fills the Secrets of type kubernetes.io/service-account-token with a
// token, the namespace and the CA, and deletes them with their account.
type Tokens struct {
	// Accounts has the accounts' metadata.
	Accounts client.Reader
	Secrets  Lister
	Kube     kubernetes.Interface
	Signer   jose.Signer
	// RootCA is written as ca.crt, if there is one.
	RootCA []byte
}

// Request names a token Secret and, as it may be gone by then, its account.
type Request struct {
	Namespace, Name string
	UID             types.UID
	Account         string
	// AccountUID is empty while the Secret has not been filled.
	AccountUID types.UID
}

func requestFor(s *corev1.Secret) Request {
	return Request{
		Namespace: s.Namespace, Name: s.Name, UID: s.UID,
		Account: s.Annotations[corev1.ServiceAccountNameKey], AccountUID: types.UID(s.Annotations[corev1.ServiceAccountUIDKey]),
	}
}

// SetupTokens registers the controller; without a key there is nothing to sign with.
func SetupTokens(env *control.Env) error {
	if env.ServiceAccountKeyFile == "" {
		return nil
	}
	signer, err := newSigner(env.ServiceAccountKeyFile)
	if err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	secrets := newInformer(env.Kube)
	if err := env.Manager.Add(secrets); err != nil {
		return err
	}
	t := &Tokens{Accounts: env.Client(), Secrets: secrets, Kube: env.Kube, Signer: signer, RootCA: env.RootCA}
	return builder.TypedControllerManagedBy[Request](env.Manager).Named("serviceaccount-token").
		WatchesRawSource(&source.TypedInformer[client.Object, Request]{Informer: secrets, Handler: secretChanged()}).
		WatchesMetadata(&corev1.ServiceAccount{}, t.accountDeleted()).
		Complete(t)
}

func secretChanged() handler.TypedEventHandler[client.Object, Request] {
	return handler.TypedEnqueueRequestsFromMapFunc[client.Object](func(_ context.Context, o client.Object) []Request {
		if s, ok := o.(*corev1.Secret); ok && s.Annotations[corev1.ServiceAccountNameKey] != "" {
			return []Request{requestFor(s)}
		}
		return nil
	})
}

// accountDeleted asks for the Secrets of a deleted account.
func (t *Tokens) accountDeleted() handler.TypedEventHandler[client.Object, Request] {
	return handler.TypedFuncs[client.Object, Request]{
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[client.Object], q workqueue.TypedRateLimitingInterface[Request]) {
			for _, s := range t.Secrets.Of(e.Object.GetNamespace(), e.Object.GetName()) {
				q.Add(requestFor(s))
			}
		},
	}
}

// Reconcile brings one Secret, or the account that listed it, up to date.
func (t *Tokens) Reconcile(ctx context.Context, req Request) (reconcile.Result, error) {
	log := klog.FromContext(ctx).WithValues("secret", klog.KRef(req.Namespace, req.Name), "serviceAccount", klog.KRef(req.Namespace, req.Account))
	secret := t.Secrets.Get(req.Namespace, req.Name)
	if secret == nil || secret.UID != req.UID {
		return reconcile.Result{}, t.forget(ctx, req)
	}
	account, err := t.account(ctx, req)
	if err != nil {
		return reconcile.Result{}, err
	}
	if account == nil {
		log.V(4).Info("Service account does not exist, deleting token")
		err := t.Kube.CoreV1().Secrets(req.Namespace).Delete(ctx, req.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &req.UID}})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, err
	}
	if !t.incomplete(secret) {
		return reconcile.Result{}, nil
	}
	next := secret.DeepCopy()
	if err := t.fill(next, account); err != nil {
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	// The cached copy's resourceVersion guards against filling a Secret twice.
	_, err = t.Kube.CoreV1().Secrets(req.Namespace).Update(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil // the change that was faster comes as an event
	}
	return reconcile.Result{}, err
}

// account is the Secret's account, nil if there is none of its UID: by the cache,
// and if that has not heard of it (yet), by the API server.
func (t *Tokens) account(ctx context.Context, req Request) (metav1.Object, error) {
	is := func(o metav1.Object) bool { return req.AccountUID == "" || req.AccountUID == o.GetUID() }
	cached, err := t.cachedAccount(ctx, req)
	if err != nil || cached != nil && is(cached) {
		return cached, err
	}
	live, err := t.Kube.CoreV1().ServiceAccounts(req.Namespace).Get(ctx, req.Account, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil || !is(live) {
		return nil, err
	}
	return live, nil
}

// cachedAccount returns an untyped nil where there is none.
func (t *Tokens) cachedAccount(ctx context.Context, req Request) (metav1.Object, error) {
	o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}}
	err := t.Accounts.Get(ctx, types.NamespacedName{Namespace: req.Namespace, Name: req.Account}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (t *Tokens) incomplete(s *corev1.Secret) bool {
	return t.needsCA(s) || len(s.Data[corev1.ServiceAccountNamespaceKey]) == 0 || len(s.Data[corev1.ServiceAccountTokenKey]) == 0
}

func (t *Tokens) needsCA(s *corev1.Secret) bool {
	return len(t.RootCA) > 0 && !bytes.Equal(s.Data[corev1.ServiceAccountRootCAKey], t.RootCA)
}

// fill writes what is missing.
func (t *Tokens) fill(s *corev1.Secret, account metav1.Object) error {
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	if t.needsCA(s) {
		s.Data[corev1.ServiceAccountRootCAKey] = t.RootCA
	}
	if len(s.Data[corev1.ServiceAccountNamespaceKey]) == 0 {
		s.Data[corev1.ServiceAccountNamespaceKey] = []byte(s.Namespace)
	}
	if len(s.Data[corev1.ServiceAccountTokenKey]) == 0 {
		token, err := legacyToken(t.Signer, account, s)
		if err != nil {
			return fmt.Errorf("token for secret %s/%s: %w", s.Namespace, s.Name, err)
		}
		s.Data[corev1.ServiceAccountTokenKey] = []byte(token)
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[corev1.ServiceAccountNameKey] = account.GetName()
	s.Annotations[corev1.ServiceAccountUIDKey] = string(account.GetUID())
	return nil
}

// forget takes a Secret that is gone out of its account's list.
func (t *Tokens) forget(ctx context.Context, req Request) error {
	cached, err := t.cachedAccount(ctx, req)
	if err != nil || cached == nil || req.AccountUID != "" && cached.GetUID() != req.AccountUID {
		return err
	}
	accounts := t.Kube.CoreV1().ServiceAccounts(req.Namespace)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := accounts.Get(ctx, req.Account, metav1.GetOptions{})
		if err != nil {
			return client.IgnoreNotFound(err)
		}
		listed := func(r corev1.ObjectReference) bool { return r.Name == req.Name }
		if req.AccountUID != "" && live.UID != req.AccountUID || !slices.ContainsFunc(live.Secrets, listed) {
			return nil
		}
		live.Secrets = slices.DeleteFunc(live.Secrets, listed)
		_, err = accounts.Update(ctx, live, metav1.UpdateOptions{})
		return client.IgnoreNotFound(err)
	})
}
