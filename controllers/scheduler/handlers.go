package scheduler

import (
	"time"

	v1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

func (s *Scheduler) nodeHandler() toolscache.ResourceEventHandler {
	set := func(obj any) {
		if node, ok := obj.(*v1.Node); ok {
			s.change(func(c *core, now time.Time) { c.setNode(now, node) })
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: func(obj any) {
			if node, ok := deleted[*v1.Node](obj); ok {
				s.change(func(c *core, now time.Time) { c.removeNode(now, node.Name) })
			}
		},
	}
}

func (s *Scheduler) namespaceHandler() toolscache.ResourceEventHandler {
	set := func(obj any) {
		if namespace, ok := obj.(*v1.Namespace); ok {
			s.change(func(c *core, now time.Time) { c.setNamespace(now, namespace.Name, namespace.Labels) })
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: func(obj any) {
			if namespace, ok := deleted[*v1.Namespace](obj); ok {
				s.change(func(c *core, _ time.Time) { c.cluster.RemoveNamespace(namespace.Name) })
			}
		},
	}
}

func (s *Scheduler) podHandler() toolscache.ResourceEventHandler {
	set := func(obj any) {
		if pod, ok := obj.(*v1.Pod); ok {
			s.change(func(c *core, now time.Time) { c.setPod(now, pod) })
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: set,
		UpdateFunc: func(old, obj any) {
			// A pod deleted and made again between two watches is another pod.
			if before, ok := old.(*v1.Pod); ok {
				if pod, ok := obj.(*v1.Pod); ok && before.UID != pod.UID {
					s.change(func(c *core, now time.Time) { c.removePod(now, before.UID) })
				}
			}
			set(obj)
		},
		DeleteFunc: func(obj any) {
			if pod, ok := deleted[*v1.Pod](obj); ok {
				s.change(func(c *core, now time.Time) { c.removePod(now, pod.UID) })
			}
		},
	}
}

// deleted unwraps what a delete handler is given.
func deleted[T any](obj any) (object T, ok bool) {
	if unknown, is := obj.(toolscache.DeletedFinalStateUnknown); is {
		obj = unknown.Obj
	}
	object, ok = obj.(T)
	return object, ok
}
