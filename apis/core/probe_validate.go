package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *podChecker) checkLifecycleAndProbes(ctr *corev1.Container, at *field.Path) {
	grace := c.spec.TerminationGracePeriodSeconds
	if l := ctr.Lifecycle; l != nil {
		hook := func(h *corev1.LifecycleHandler, name string) {
			if h != nil {
				c.add(validateHandler(handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, grace, at.Child("lifecycle", name))...)
			}
		}
		hook(l.PostStart, "postStart")
		hook(l.PreStop, "preStop")
		if l.StopSignal != nil {
			c.add(validateStopSignal(*l.StopSignal, c.spec.OS, at.Child("lifecycle", "stopSignal"))...)
		}
	}
	probe := func(p *corev1.Probe, name string) *field.Path {
		path := at.Child(name)
		if p == nil {
			return path
		}
		c.add(validateHandler(handler{exec: p.Exec, http: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC}, grace, path)...)
		for _, n := range []struct {
			name  string
			value int32
		}{{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds}, {"periodSeconds", p.PeriodSeconds},
			{"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold}} {
			c.add(ValidateNonnegative(int64(n.value), path.Child(n.name))...)
		}
		if g := p.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
			c.add(field.Invalid(path.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0"))
		}
		return path
	}
	once := func(p *corev1.Probe, path *field.Path) {
		if p != nil && p.SuccessThreshold != 1 {
			c.add(field.Invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
		}
	}
	once(ctr.LivenessProbe, probe(ctr.LivenessProbe, "livenessProbe"))
	if path := probe(ctr.ReadinessProbe, "readinessProbe"); ctr.ReadinessProbe != nil && ctr.ReadinessProbe.TerminationGracePeriodSeconds != nil {
		c.add(field.Invalid(path.Child("terminationGracePeriodSeconds"), *ctr.ReadinessProbe.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
	}
	once(ctr.StartupProbe, probe(ctr.StartupProbe, "startupProbe"))
}

// handler is a probe's or a lifecycle hook's action: exactly one of its fields.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

func validateHandler(h handler, grace *int64, path *field.Path) (errs field.ErrorList) {
	found := false
	one := func(set bool, name string, check func(*field.Path) field.ErrorList) {
		switch {
		case !set:
		case found:
			errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 handler type"))
		default:
			found = true
			errs = append(errs, check(path.Child(name))...)
		}
	}
	one(h.exec != nil, "exec", func(at *field.Path) field.ErrorList {
		if len(h.exec.Command) == 0 {
			return field.ErrorList{field.Required(at.Child("command"), "")}
		}
		return nil
	})
	one(h.http != nil, "httpGet", func(at *field.Path) field.ErrorList { return validateHTTPGet(h.http, at) })
	one(h.tcp != nil, "tcpSocket", func(at *field.Path) field.ErrorList { return ValidatePortNumOrName(h.tcp.Port, at.Child("port")) })
	one(h.grpc != nil, "grpc", func(at *field.Path) field.ErrorList {
		return ValidatePortNumOrName(intstr.FromInt32(h.grpc.Port), at.Child("port"))
	})
	one(h.sleep != nil, "sleep", func(at *field.Path) field.ErrorList {
		if n := h.sleep.Seconds; grace != nil && (n < 0 || n > *grace) {
			return field.ErrorList{field.Invalid(at, n, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))}
		}
		return nil
	})
	if !found {
		errs = append(errs, field.Required(path, "must specify a handler type"))
	}
	return errs
}

func validateHTTPGet(a *corev1.HTTPGetAction, path *field.Path) (errs field.ErrorList) {
	if a.Path == "" {
		errs = append(errs, field.Required(path.Child("path"), ""))
	}
	errs = append(errs, ValidatePortNumOrName(a.Port, path.Child("port"))...)
	errs = append(errs, supported(a.Scheme, path.Child("scheme"), corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	for _, h := range a.HTTPHeaders {
		errs = append(errs, invalidEach(path.Child("httpHeaders"), h.Name, validation.IsHTTPHeaderName(h.Name))...)
	}
	return errs
}

// validateStopSignal: which signals there are depends on the system (KEP-4960).
func validateStopSignal(s corev1.Signal, os *corev1.PodOS, path *field.Path) field.ErrorList {
	if os == nil {
		return field.ErrorList{field.Forbidden(path, "may not be set for containers with empty `spec.os.name`")}
	}
	signals := linuxSignals()
	if os.Name == corev1.Windows {
		signals = []corev1.Signal{corev1.SIGKILL, corev1.SIGTERM}
	}
	if os.Name != corev1.Windows && os.Name != corev1.Linux || slices.Contains(signals, s) {
		return nil
	}
	slices.Sort(signals)
	return field.ErrorList{field.NotSupported(path, s, signals)}
}

func linuxSignals() []corev1.Signal {
	list := []corev1.Signal{"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT",
		"SIGIO", "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS",
		"SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ",
		"SIGRTMIN", "SIGRTMAX"}
	for i := 1; i <= 15; i++ {
		list = append(list, corev1.Signal(fmt.Sprintf("SIGRTMIN+%d", i)))
	}
	for i := 1; i <= 14; i++ {
		list = append(list, corev1.Signal(fmt.Sprintf("SIGRTMAX-%d", i)))
	}
	return list
}
