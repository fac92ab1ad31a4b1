package admission

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"proa/apis/admission/podrefs"
)

const (
	defaultServiceAccount = "default"
	tokenVolumePrefix     = "kube-api-access-"
	tokenMountPath        = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenSeconds is the lifetime at which the issuer knows a token volume of
	// this plugin (see authn).
	tokenSeconds = 60*60 + 7
	// enforceMountable limits an account's pods to the secrets it lists.
	enforceMountable = "kubernetes.io/enforce-mountable-secrets"
)

// serviceAccount gives pods their service account, its token volume and its image
// pull secrets.
type serviceAccount struct {
	*admission.Handler
	accounts corelisters.ServiceAccountLister
	client   kubernetes.Interface
	generate func(prefix string) string
}

func newServiceAccount(f informers.SharedInformerFactory, client kubernetes.Interface) *serviceAccount {
	i := f.Core().V1().ServiceAccounts()
	s := &serviceAccount{admission.NewHandler(admission.Create, admission.Update), i.Lister(), client, names.SimpleNameGenerator.GenerateName}
	s.SetReadyFunc(i.Informer().HasSynced)
	return s
}

func podOf(a admission.Attributes, subresources ...string) (*corev1.Pod, bool) {
	if a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil, false
	}
	ok := a.GetSubresource() == ""
	for _, s := range subresources {
		ok = ok || a.GetSubresource() == s
	}
	pod, is := a.GetObject().(*corev1.Pod)
	return pod, ok && is
}

// Admit implements admission.MutationInterface.
func (s *serviceAccount) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok || a.GetOperation() != admission.Create {
		return nil
	}
	if isMirror(pod) {
		return s.Validate(ctx, a, o)
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultServiceAccount
	}
	// The deprecated alias follows, as decoding would have made it.
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	sa, err := s.account(ctx, a, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if automount(sa, pod) {
		mountToken(pod, s.generate)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 && len(sa.ImagePullSecrets) > 0 {
		pod.Spec.ImagePullSecrets = append([]corev1.LocalObjectReference(nil), sa.ImagePullSecrets...)
	}
	return s.check(a, sa, pod)
}

// Validate implements admission.ValidationInterface.
func (s *serviceAccount) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a, "ephemeralcontainers")
	if !ok || (a.GetOperation() == admission.Update && a.GetSubresource() != "ephemeralcontainers") {
		return nil
	}
	if isMirror(pod) {
		if err := mirrorRefs(pod); err != nil {
			return admission.NewForbidden(a, err)
		}
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		return admission.NewForbidden(a, fmt.Errorf("no service account specified for pod %s/%s", a.GetNamespace(), pod.Name))
	}
	sa, err := s.account(ctx, a, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	return s.check(a, sa, pod)
}

func (s *serviceAccount) check(a admission.Attributes, sa *corev1.ServiceAccount, pod *corev1.Pod) error {
	if enforce, _ := strconv.ParseBool(sa.Annotations[enforceMountable]); !enforce {
		return nil
	}
	if err := limitSecrets(sa, pod, a.GetSubresource() == "ephemeralcontainers"); err != nil {
		return admission.NewForbidden(a, err)
	}
	return nil
}

// account finds the service account; the default one of a namespace just made is
// given the time a controller needs to make it.
func (s *serviceAccount) account(ctx context.Context, a admission.Attributes, name string) (*corev1.ServiceAccount, error) {
	if !s.WaitForReady() {
		return nil, admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	sa, err := s.accounts.ServiceAccounts(a.GetNamespace()).Get(name)
	if apierrors.IsNotFound(err) {
		patience := time.Duration(0)
		if name == defaultServiceAccount {
			patience = 2 * time.Second
		}
		var last error
		get := func(ctx context.Context) (bool, error) {
			sa, last = s.client.CoreV1().ServiceAccounts(a.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(last) {
				return false, nil
			}
			return last == nil, last
		}
		if done, gerr := get(ctx); gerr == nil && !done && patience > 0 {
			_ = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, false, get)
		}
		if err = last; apierrors.IsNotFound(err) {
			err = apierrors.NewNotFound(corev1.Resource("serviceaccount"), name)
		}
	}
	if err != nil {
		return nil, admission.NewForbidden(a, fmt.Errorf("error looking up service account %s/%s: %w", a.GetNamespace(), name, err))
	}
	return sa, nil
}

// automount: the pod's word counts before the account's; the default is yes.
func automount(sa *corev1.ServiceAccount, pod *corev1.Pod) bool {
	switch {
	case pod.Spec.AutomountServiceAccountToken != nil:
		return *pod.Spec.AutomountServiceAccountToken
	case sa.AutomountServiceAccountToken != nil:
		return *sa.AutomountServiceAccountToken
	}
	return true
}

// mountToken adds the token volume to a pod and mounts it in every container
// that has nothing at that path.
func mountToken(pod *corev1.Pod, generate func(string) string) {
	name, have := "", false
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, tokenVolumePrefix) {
			name, have = v.Name, true
			break
		}
	}
	if !have {
		name = generate(tokenVolumePrefix)
	}
	needed := false
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			taken := false
			for _, m := range c.VolumeMounts {
				taken = taken || m.MountPath == tokenMountPath
			}
			if !taken {
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: tokenMountPath})
				needed = true
			}
		}
	}
	if needed && !have {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: tokenVolume()}})
	}
}

func tokenVolume() *corev1.ProjectedVolumeSource {
	mode, seconds := corev1.ProjectedVolumeSourceDefaultMode, int64(tokenSeconds)
	return &corev1.ProjectedVolumeSource{
		DefaultMode: &mode,
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: &seconds}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
			}}},
		},
	}
}

func isMirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

// mirrorRefs: a node must not gain access by creating a pod.
func mirrorRefs(pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return errors.New("a mirror pod may not reference service accounts")
	}
	secret := false
	podrefs.Visit(pod, func(resource, _ string) { secret = secret || resource == "secrets" })
	if secret {
		return errors.New("a mirror pod may not reference secrets")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, p := range v.Projected.Sources {
			if p.ServiceAccountToken != nil {
				return errors.New("a mirror pod may not use ServiceAccountToken volume projections")
			}
		}
	}
	return nil
}

// limitSecrets enforces the annotation enforce-mountable-secrets.
func limitSecrets(sa *corev1.ServiceAccount, pod *corev1.Pod, ephemeralOnly bool) error {
	mountable := map[string]bool{}
	for _, s := range sa.Secrets {
		mountable[s.Name] = true
	}
	container := func(what, name string, env []corev1.EnvVar, from []corev1.EnvFromSource) error {
		for _, e := range env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && !mountable[e.ValueFrom.SecretKeyRef.Name] {
				return fmt.Errorf("%s %s with envVar %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret", what, name, e.Name, e.ValueFrom.SecretKeyRef.Name, sa.Name)
			}
		}
		for _, f := range from {
			if f.SecretRef != nil && !mountable[f.SecretRef.Name] {
				return fmt.Errorf("%s %s with envFrom referencing secret.secretName=%q is not allowed because service account %s does not reference that secret", what, name, f.SecretRef.Name, sa.Name)
			}
		}
		return nil
	}
	if ephemeralOnly {
		for _, c := range pod.Spec.EphemeralContainers {
			if err := container("ephemeral container", c.Name, c.Env, c.EnvFrom); err != nil {
				return err
			}
		}
		return nil
	}
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil && !mountable[v.Secret.SecretName] {
			return fmt.Errorf("volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", v.Secret.SecretName, sa.Name)
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if err := container("init container", c.Name, c.Env, c.EnvFrom); err != nil {
			return err
		}
	}
	for _, c := range pod.Spec.Containers {
		if err := container("container", c.Name, c.Env, c.EnvFrom); err != nil {
			return err
		}
	}
	pull := map[string]bool{}
	for _, s := range sa.ImagePullSecrets {
		pull[s.Name] = true
	}
	for i, s := range pod.Spec.ImagePullSecrets {
		if !pull[s.Name] {
			return fmt.Errorf("imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, s.Name, sa.Name)
		}
	}
	return nil
}
