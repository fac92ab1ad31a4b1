package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core/allocator"
)

// portTaker is where a service's node ports come from.
type portTaker interface {
	Take(port int32) error
	Next() (int32, error)
}

// nodePorts allocates the service's node ports in one change of the record, and
// notes those that it gives up.
func (t *allocation) nodePorts(s, old *corev1.Service) error {
	var before []int32
	if old != nil {
		before = heldPorts(old)
	}
	if wantsNodePorts(s, before) {
		asked := s.Spec.DeepCopy()
		var taken recorded
		fill := func(from portTaker) error {
			s.Spec.Ports, s.Spec.HealthCheckNodePort = slices.Clone(asked.Ports), asked.HealthCheckNodePort
			taken = recorded{portTaker: from}
			return fillPorts(s, old, &taken)
		}
		var err error
		if t.dryRun {
			var set *allocator.PortSet
			if set, err = t.a.ports.View(t.ctx); err == nil {
				err = fill(&dryPorts{set: set})
			}
		} else {
			err = t.a.ports.Update(t.ctx, func(set *allocator.PortSet) error { return fill(set) })
		}
		if err != nil {
			return err
		}
		t.newPorts = taken.ports
	}
	now := heldPorts(s)
	t.oldPorts = slices.DeleteFunc(before, func(port int32) bool { return slices.Contains(now, port) })
	return nil
}

func onNodes(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
}

// wantsNodePorts tells whether the record must be asked at all.
func wantsNodePorts(s *corev1.Service, held []int32) bool {
	if needsHealthCheck(s) && !slices.Contains(held, s.Spec.HealthCheckNodePort) {
		return true
	}
	return onNodes(s) && slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
		return p.NodePort == 0 && allocatesNodePorts(s) || p.NodePort != 0 && !slices.Contains(held, p.NodePort)
	})
}

// fillPorts is the whole choice; old is nil on create.
func fillPorts(s, old *corev1.Service, from portTaker) error {
	var err error
	switch {
	case !onNodes(s):
	case old == nil:
		err = newNodePorts(s, from)
	default:
		err = changedNodePorts(s, old, from)
	}
	if err != nil || !needsHealthCheck(s) || old != nil && needsHealthCheck(old) {
		return err
	}
	if want := s.Spec.HealthCheckNodePort; want != 0 {
		if err := from.Take(want); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %v: %w", want, err))
		}
		return nil
	}
	port, err := from.Next()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort %v: %w", port, err))
	}
	s.Spec.HealthCheckNodePort = port
	return nil
}

// newNodePorts: ports of one number and several protocols share a node port,
// which may be asked for at any of them.
func newNodePorts(s *corev1.Service, from portTaker) error {
	shared := map[int32]int32{}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort == 0 && !allocatesNodePorts(s) {
			continue
		}
		have := shared[p.Port]
		switch {
		case have == 0 && requestedNodePort(s, p.Port) != 0:
			p.NodePort = requestedNodePort(s, p.Port)
			if err := take(s, i, from); err != nil {
				return err
			}
		case have == 0:
			next, err := from.Next()
			if err != nil {
				return noNodePort(err)
			}
			p.NodePort = next
		case p.NodePort == 0:
			p.NodePort = have
		case p.NodePort != have:
			if err := take(s, i, from); err != nil {
				return err
			}
		}
		if have == 0 {
			shared[p.Port] = p.NodePort
		}
	}
	return nil
}

// requestedNodePort is the first one that the service asks for at a port number.
func requestedNodePort(s *corev1.Service, port int32) int32 {
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; p.Port == port && p.NodePort != 0 {
			return p.NodePort
		}
	}
	return 0
}

// changedNodePorts: what the service had before it need not take again.
func changedNodePorts(s, old *corev1.Service, from portTaker) error {
	mine := nodePorts(old)
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		switch {
		case p.NodePort == 0 && !allocatesNodePorts(s):
		case p.NodePort == 0:
			next, err := from.Next()
			if err != nil {
				return noNodePort(err)
			}
			p.NodePort = next
		case !mine.Has(p.NodePort):
			if err := take(s, i, from); err != nil {
				return err
			}
			mine.Insert(p.NodePort)
		}
	}
	return nil
}

func take(s *corev1.Service, i int, from portTaker) error {
	port := s.Spec.Ports[i].NodePort
	if err := from.Take(port); err != nil {
		return serviceInvalid(s, field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), port, err.Error()))
	}
	return nil
}

func noNodePort(err error) error {
	return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
}

// recorded remembers what was taken.
type recorded struct {
	portTaker
	ports []int32
}

func (r *recorded) Take(port int32) error {
	err := r.portTaker.Take(port)
	if err == nil {
		r.ports = append(r.ports, port)
	}
	return err
}

func (r *recorded) Next() (int32, error) {
	port, err := r.portTaker.Next()
	if err == nil {
		r.ports = append(r.ports, port)
	}
	return port, err
}

// dryPorts answers dry runs as upstream does: taken ports are refused, and free
// ones are placeholders that follow the last one of this request.
type dryPorts struct {
	set  *allocator.PortSet
	mine []int32
}

// firstDryPort is the first placeholder.
const firstDryPort = 32769

func (d *dryPorts) Take(port int32) error {
	if d.set.Has(port) || slices.Contains(d.mine, port) {
		return allocator.ErrPortAllocated
	}
	d.mine = append(d.mine, port)
	return nil
}

func (d *dryPorts) Next() (int32, error) {
	port := int32(firstDryPort)
	if len(d.mine) > 0 {
		port = slices.Max(d.mine) + 1
	}
	d.mine = append(d.mine, port)
	return port, nil
}
