package server

import (
	"context"
	"strconv"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	flowcontrolclient "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

const (
	// fairnessHook and fairnessManager are upstream's names of what keeps the
	// configuration of API Priority and Fairness.
	fairnessHook    = "priority-and-fairness-config-producer"
	fairnessManager = "api-priority-and-fairness-config-producer-v1"
	// fairnessPause lets changes that come together be looked at once.
	fairnessPause = time.Second
)

// fairness keeps the FlowSchemas and PriorityLevelConfigurations that every
// cluster has: the mandatory ones always as they must be, the suggested ones as
// long as nobody took them over (annotation apf.kubernetes.io/autoupdate-spec).
type fairness struct {
	client    flowcontrolclient.FlowcontrolV1Interface
	informers informers.SharedInformerFactory
	clock     clock.Clock
}

// start writes what is missing, then goes on whenever one of the objects changes.
func (f fairness) start(ctx genericapiserver.PostStartHookContext) error {
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { poke() }, UpdateFunc: func(_, _ any) { poke() }, DeleteFunc: func(any) { poke() },
	}
	v1 := f.informers.Flowcontrol().V1()
	for _, i := range []cache.SharedIndexInformer{v1.FlowSchemas().Informer(), v1.PriorityLevelConfigurations().Informer()} {
		if _, err := i.AddEventHandler(handler); err != nil {
			return err
		}
	}
	wait := func() bool {
		select {
		case <-ctx.Done():
			return false
		case <-f.clock.After(fairnessPause):
			return true
		}
	}
	logger := klog.FromContext(ctx)
	for {
		err := f.ensure(ctx)
		if err == nil {
			break
		}
		logger.Error(err, "Priority and fairness: the objects of every cluster, trying again")
		if !wait() {
			return nil
		}
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			if !wait() {
				return
			}
			if err := f.ensure(ctx); err != nil {
				logger.Error(err, "Priority and fairness: the objects of every cluster, trying again")
				poke()
			}
		}
	}()
	return nil
}

// ensure brings the objects to what they must be, suggested ones first as they
// are what most requests are handled by.
func (f fairness) ensure(ctx context.Context) error {
	levels, schemas := f.client.PriorityLevelConfigurations(), f.client.FlowSchemas()
	haveLevels, err := levels.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	haveSchemas, err := schemas.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	levelPlan := planFairness(pointers(haveLevels.Items), bootstrap.SuggestedPriorityLevelConfigurations, bootstrap.MandatoryPriorityLevelConfigurations, reviseLevel)
	if err := carryOut(ctx, levels, levelPlan); err != nil {
		return err
	}
	schemaPlan := planFairness(pointers(haveSchemas.Items), bootstrap.SuggestedFlowSchemas, bootstrap.MandatoryFlowSchemas, reviseSchema)
	return carryOut(ctx, schemas, schemaPlan)
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// fairnessPlan is what is to be written.
type fairnessPlan[T kind.Object] struct {
	create, update []T
	remove         []string
}

// planFairness compares what there is with what every cluster has. revise gives
// have the spec of want and says whether that changed anything.
func planFairness[T kind.Object](have []T, suggested, mandatory []T, revise func(have, want T) bool) (plan fairnessPlan[T]) {
	current, wanted := map[string]T{}, map[string]bool{}
	for _, o := range have {
		current[o.GetName()] = o
	}
	look := func(want T, must bool) {
		wanted[want.GetName()] = true
		now, ok := current[want.GetName()]
		if !ok {
			plan.create = append(plan.create, want)
			return
		}
		now = now.DeepCopyObject().(T) //nolint:errcheck // a copy has its original's type
		follows, marked := autoUpdated(now)
		if must {
			follows = true
		}
		changed := follows && revise(now, want)
		if marked == nil || *marked != follows {
			annotations := now.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[flowcontrolv1.AutoUpdateAnnotationKey] = strconv.FormatBool(follows)
			now.SetAnnotations(annotations)
			changed = true
		}
		if changed {
			plan.update = append(plan.update, now)
		}
	}
	for _, o := range suggested {
		look(o, false)
	}
	for _, o := range mandatory {
		look(o, true)
	}
	for _, o := range have {
		if _, marked := autoUpdated(o); !wanted[o.GetName()] && ptr.Deref(marked, false) {
			plan.remove = append(plan.remove, o.GetName())
		}
	}
	return plan
}

// autoUpdated says whether an object's spec follows the built-in one: as its
// annotation says, which is returned too, or else while nobody changed the spec.
func autoUpdated(o metav1.Object) (follows bool, marked *bool) {
	if v, err := strconv.ParseBool(o.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey]); err == nil {
		return v, &v
	}
	return o.GetGeneration() == 1, nil
}

func reviseSchema(have, want *flowcontrolv1.FlowSchema) bool {
	if equality.Semantic.DeepEqual(have.Spec, want.Spec) {
		return false
	}
	have.Spec = *want.Spec.DeepCopy()
	return true
}

func reviseLevel(have, want *flowcontrolv1.PriorityLevelConfiguration) bool {
	spec := want.Spec.DeepCopy()
	// What the built-in ones leave to defaults, and what of the exempt one is the
	// administrator's own.
	if l := spec.Limited; l != nil && l.LendablePercent == nil {
		l.LendablePercent = ptr.To[int32](0)
	}
	if e := have.Spec.Exempt; want.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt && e != nil {
		spec.Exempt = e
	}
	if equality.Semantic.DeepEqual(&have.Spec, spec) {
		return false
	}
	have.Spec = *spec
	return true
}

// fairnessClient is the part of a typed client that the upkeep uses.
type fairnessClient[T any] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// carryOut writes; what others did at the same time is looked at again when the
// watch tells of it.
func carryOut[T kind.Object](ctx context.Context, client fairnessClient[T], plan fairnessPlan[T]) error {
	for _, o := range plan.create {
		if _, err := client.Create(ctx, o, metav1.CreateOptions{FieldManager: fairnessManager}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	for _, o := range plan.update {
		if _, err := client.Update(ctx, o, metav1.UpdateOptions{FieldManager: fairnessManager}); err != nil && !apierrors.IsConflict(err) {
			return err
		}
	}
	for _, name := range plan.remove {
		if err := client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
