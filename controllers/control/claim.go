package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Claimer reconciles owner references between an owner and the objects its
// selector matches: orphans that match are adopted, owned objects that no
// longer match are released. See the garbage collection design, "controllerRef".
type Claimer struct {
	// Client writes the patches; Live reads the owner again before the first adoption.
	Client client.Writer
	Live   client.Reader
	// Owner as the cache has it, and its kind.
	Owner client.Object
	Kind  schema.GroupVersionKind
	// Selector says what belongs to the owner.
	Selector labels.Selector
	// Finalizers are added on adoption and removed on release.
	Finalizers []string

	checked  bool
	checkErr error
}

// Claim returns those of objs that the owner owns afterwards, in the order
// given. An error means that some adoption or release failed and should be
// tried again; the list is then incomplete. filter, if not nil, must also
// accept an object for it to match.
func Claim[T client.Object](ctx context.Context, c *Claimer, objs []T, filter func(T) bool) ([]T, error) {
	var claimed []T
	var errs []error
	for _, obj := range objs {
		match := c.Selector.Matches(labels.Set(obj.GetLabels())) && (filter == nil || filter(obj))
		ok, err := c.claim(ctx, obj, match)
		if err != nil {
			errs = append(errs, err)
		} else if ok {
			claimed = append(claimed, obj)
		}
	}
	return claimed, errors.Join(errs...)
}

func (c *Claimer) claim(ctx context.Context, obj client.Object, match bool) (bool, error) {
	deleting := c.Owner.GetDeletionTimestamp() != nil
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
		if ref.UID != c.Owner.GetUID() {
			return false, nil
		}
		if match {
			return true, nil
		}
		if deleting {
			return false, nil
		}
		return false, c.release(ctx, obj)
	}
	if deleting || !match || obj.GetDeletionTimestamp() != nil || obj.GetNamespace() != c.Owner.GetNamespace() {
		return false, nil
	}
	if err := c.adopt(ctx, obj); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// mayAdopt reads the owner past the cache, once: an owner that was deleted or
// replaced meanwhile must not adopt (kubernetes/kubernetes#42639).
func (c *Claimer) mayAdopt(ctx context.Context) error {
	if c.checked {
		return c.checkErr
	}
	c.checked = true
	fresh, ok := c.Owner.DeepCopyObject().(client.Object)
	if !ok {
		c.checkErr = fmt.Errorf("%s %s is not an API object", c.Kind.Kind, klog.KObj(c.Owner))
		return c.checkErr
	}
	if err := c.Live.Get(ctx, client.ObjectKeyFromObject(c.Owner), fresh); err != nil {
		c.checkErr = fmt.Errorf("can't recheck DeletionTimestamp: %w", err)
	} else if fresh.GetUID() != c.Owner.GetUID() {
		c.checkErr = fmt.Errorf("original %s %s is gone: got uid %v, wanted %v", c.Kind.Kind, klog.KObj(c.Owner), fresh.GetUID(), c.Owner.GetUID())
	} else if fresh.GetDeletionTimestamp() != nil {
		c.checkErr = fmt.Errorf("%s has just been deleted at %v", klog.KObj(c.Owner), fresh.GetDeletionTimestamp())
	}
	return c.checkErr
}

type metaPatch struct {
	Metadata metaPatchBody `json:"metadata"`
}

type metaPatchBody struct {
	UID             types.UID `json:"uid"`
	OwnerReferences []any     `json:"ownerReferences,omitempty"`
	Finalizers      []string  `json:"finalizers,omitempty"`
	DropFinalizers  []string  `json:"$deleteFromPrimitiveList/finalizers,omitempty"`
}

func (c *Claimer) adopt(ctx context.Context, obj client.Object) error {
	if err := c.mayAdopt(ctx); err != nil {
		return fmt.Errorf("can't adopt %T %s (%s): %w", obj, klog.KObj(obj), obj.GetUID(), err)
	}
	return c.patch(ctx, obj, metaPatchBody{
		UID:             obj.GetUID(),
		OwnerReferences: []any{metav1.NewControllerRef(c.Owner, c.Kind)},
		Finalizers:      c.Finalizers,
	})
}

func (c *Claimer) release(ctx context.Context, obj client.Object) error {
	err := c.patch(ctx, obj, metaPatchBody{
		UID:             obj.GetUID(),
		OwnerReferences: []any{map[string]any{"$patch": "delete", "uid": c.Owner.GetUID()}},
		DropFinalizers:  c.Finalizers,
	})
	// Invalid means that the object has no owner left or was replaced under
	// its name; either way it is not ours any more.
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

func (c *Claimer) patch(ctx context.Context, obj client.Object, body metaPatchBody) error {
	data, err := json.Marshal(metaPatch{Metadata: body})
	if err != nil {
		return err
	}
	// The response is decoded into a copy: obj belongs to the cache.
	target, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is not an API object", obj)
	}
	return c.Client.Patch(ctx, target, client.RawPatch(types.StrategicMergePatchType, data))
}
