package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkContainers checks the containers of all three lists. Names are unique
// among them all; host ports among those that run at one time.
func (c *podChecker) checkContainers(spec *field.Path) {
	path := spec.Child("containers")
	if len(c.spec.Containers) == 0 {
		c.add(field.Required(path, ""))
	}
	names := map[string]bool{}
	for i := range c.spec.Containers {
		ctr, at := &c.spec.Containers[i], path.Index(i)
		c.checkContainer(ctr, at)
		c.checkName(names, ctr.Name, at)
		names[ctr.Name] = true
		c.checkLifecycleAndProbes(ctr, at)
		c.add(validateRestartPolicy(ctr, at)...)
	}
	c.add(validateHostPorts(c.spec.Containers, path)...)

	path = spec.Child("initContainers")
	for i := range c.spec.InitContainers {
		ctr, at := &c.spec.InitContainers[i], path.Index(i)
		c.checkContainer(ctr, at)
		c.add(validateInitRestart(ctr, at)...)
		c.checkName(names, ctr.Name, at)
		c.add(validateHostPorts(c.spec.InitContainers[i:i+1], path)...)
		c.checkInitContainer(ctr, at)
	}
	c.checkEphemeralContainers(names, spec.Child("ephemeralContainers"))
}

func (c *podChecker) checkName(names map[string]bool, name string, at *field.Path) {
	if names[name] {
		c.add(field.Duplicate(at.Child("name"), name))
	}
	if name != "" {
		names[name] = true
	}
}

// checkContainer checks what containers of all lists have in common.
func (c *podChecker) checkContainer(ctr *corev1.Container, at *field.Path) {
	if ctr.Name == "" {
		c.add(field.Required(at.Child("name"), ""))
	} else {
		c.add(ValidateDNSLabel(ctr.Name, at.Child("name"))...)
	}
	if ctr.Image == "" {
		c.add(field.Required(at.Child("image"), ""))
	}
	c.add(oneOf(ctr.TerminationMessagePolicy, at.Child("terminationMessagePolicy"), corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	c.add(validateContainerPorts(ctr.Ports, at.Child("ports"))...)
	c.add(validateEnv(ctr.Env, at.Child("env"))...)
	c.add(validateEnvFrom(ctr.EnvFrom, at.Child("envFrom"))...)
	c.checkMounts(ctr, at)
	c.checkDevices(ctr, at)
	c.add(validatePullPolicy(ctr.ImagePullPolicy, at.Child("imagePullPolicy"))...)
	c.add(validateRequirements(&ctr.Resources, c.claims, c.lenient.hugePages, at.Child("resources"), validateContainerResourceName)...)
	c.add(validateResizePolicy(ctr.ResizePolicy, c.spec.RestartPolicy, at.Child("resizePolicy"))...)
	c.add(validateSecurityContext(ctr.SecurityContext, c.spec.HostUsers == nil || *c.spec.HostUsers, at.Child("securityContext"))...)
}

func validatePullPolicy(p corev1.PullPolicy, path *field.Path) field.ErrorList {
	return oneOf(p, path, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

// checkInitContainer: only those that keep running (sidecars) are probed.
func (c *podChecker) checkInitContainer(ctr *corev1.Container, at *field.Path) {
	if isSidecar(ctr) {
		c.checkLifecycleAndProbes(ctr, at)
		return
	}
	forbid := func(set bool, name string) {
		if set {
			c.add(field.Forbidden(at.Child(name), "may not be set for init containers without restartPolicy=Always"))
		}
	}
	forbid(ctr.Lifecycle != nil, "lifecycle")
	forbid(ctr.LivenessProbe != nil, "livenessProbe")
	forbid(ctr.ReadinessProbe != nil, "readinessProbe")
	forbid(ctr.StartupProbe != nil, "startupProbe")
	for i, p := range ctr.ResizePolicy {
		if p.RestartPolicy == corev1.RestartContainer && !c.lenient.restartInit {
			c.add(field.Invalid(at.Child("resizePolicy").Index(i).Child("restartPolicy"), p.RestartPolicy, "must not be set to 'RestartContainer' for non-sidecar initContainers"))
		}
	}
}

// checkEphemeralContainers: they are for looking at a pod, not a part of it (KEP-277).
func (c *podChecker) checkEphemeralContainers(names map[string]bool, path *field.Path) {
	others := maps.Clone(names)
	for i := range c.spec.EphemeralContainers {
		e, at := &c.spec.EphemeralContainers[i], path.Index(i)
		ctr := corev1.Container(e.EphemeralContainerCommon)
		c.checkContainer(&ctr, at)
		c.add(validateImageSpace(&ctr, at)...)
		c.checkName(names, e.Name, at)
		names[e.Name] = true
		if t := e.TargetContainerName; t != "" && !others[t] {
			c.add(field.NotFound(at.Child("targetContainerName"), t))
		}
		forbid := func(set bool, path *field.Path) {
			if set {
				c.add(field.Forbidden(path, "cannot be set for an Ephemeral Container"))
			}
		}
		forbid(e.Ports != nil, at.Child("ports"))
		forbid(e.Resources.Limits != nil || e.Resources.Requests != nil || e.Resources.Claims != nil, at.Child("resources"))
		forbid(e.ResizePolicy != nil, at.Child("resizePolicy"))
		forbid(e.RestartPolicy != nil, at.Child("restartPolicy"))
		forbid(e.RestartPolicyRules != nil, at.Child("restartPolicyRules"))
		forbid(e.LivenessProbe != nil, at.Child("livenessProbe"))
		forbid(e.ReadinessProbe != nil, at.Child("readinessProbe"))
		forbid(e.StartupProbe != nil, at.Child("startupProbe"))
		forbid(e.Lifecycle != nil, at.Child("lifecycle"))
		for j, m := range e.VolumeMounts {
			forbid(m.SubPath != "", at.Child("volumeMounts").Index(j).Child("subPath"))
			forbid(m.SubPathExpr != "", at.Child("volumeMounts").Index(j).Child("subPathExpr"))
		}
	}
}

// validateImageSpace: pods name images exactly; templates were never that strict.
func validateImageSpace(ctr *corev1.Container, at *field.Path) field.ErrorList {
	if strings.TrimSpace(ctr.Image) == ctr.Image {
		return nil
	}
	return field.ErrorList{field.Invalid(at.Child("image"), ctr.Image, "must not have leading or trailing whitespace")}
}

func validateContainerPorts(ports []corev1.ContainerPort, path *field.Path) (errs field.ErrorList) {
	names := map[string]bool{}
	for i, p := range ports {
		at := path.Index(i)
		if p.Name != "" {
			switch msgs := validation.IsValidPortName(p.Name); {
			case len(msgs) > 0:
				errs = append(errs, invalidEach(at.Child("name"), p.Name, msgs)...)
			case names[p.Name]:
				errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			default:
				names[p.Name] = true
			}
		}
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, validPort(p.ContainerPort, at.Child("containerPort"))...)
		}
		if p.HostPort != 0 {
			errs = append(errs, validPort(p.HostPort, at.Child("hostPort"))...)
		}
		errs = append(errs, validateProtocol(p.Protocol, at.Child("protocol"))...)
	}
	return errs
}

func validateHostPorts(containers []corev1.Container, path *field.Path) (errs field.ErrorList) {
	seen := map[string]bool{}
	for i := range containers {
		for j, p := range containers[i].Ports {
			if p.HostPort == 0 {
				continue
			}
			key := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
			if seen[key] {
				errs = append(errs, field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"), key))
			}
			seen[key] = true
		}
	}
	return errs
}

// validateInitRestart: rules of a container without a policy are not looked at.
func validateInitRestart(ctr *corev1.Container, at *field.Path) field.ErrorList {
	if ctr.RestartPolicy == nil && len(ctr.RestartPolicyRules) > 0 {
		return field.ErrorList{field.Required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")}
	}
	return validateRestartPolicy(ctr, at)
}

// validateRestartPolicy checks a container's own policy and rules (KEP-753, KEP-5307).
func validateRestartPolicy(ctr *corev1.Container, at *field.Path) (errs field.ErrorList) {
	policy, rules := at.Child("restartPolicy"), at.Child("restartPolicyRules")
	if ctr.RestartPolicy == nil {
		if len(ctr.RestartPolicyRules) == 0 {
			return nil
		}
		errs = append(errs, field.Required(policy, "must specify restartPolicy when restart rules are used"))
	} else {
		errs = append(errs, supported(*ctr.RestartPolicy, policy, corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)...)
	}
	if n := len(ctr.RestartPolicyRules); n > 20 {
		errs = append(errs, field.TooMany(rules, n, 20))
	}
	for i, r := range ctr.RestartPolicyRules {
		rule := rules.Index(i)
		errs = append(errs, supported(r.Action, rule.Child("action"), corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)...)
		if r.ExitCodes == nil {
			errs = append(errs, field.Required(rule.Child("exitCodes"), "must be specified"))
			continue
		}
		errs = append(errs, supported(r.ExitCodes.Operator, rule.Child("exitCodes", "operator"), corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)...)
		if n := len(r.ExitCodes.Values); n > 255 {
			errs = append(errs, field.TooMany(rule.Child("exitCodes", "values"), n, 255))
		}
	}
	return errs
}

func validateResizePolicy(list []corev1.ContainerResizePolicy, restart corev1.RestartPolicy, path *field.Path) (errs field.ErrorList) {
	for i, p := range list {
		if slices.ContainsFunc(list[:i], func(o corev1.ContainerResizePolicy) bool { return o.ResourceName == p.ResourceName }) {
			errs = append(errs, field.Duplicate(path.Index(i), p.ResourceName))
		}
		errs = append(errs, oneOf(p.ResourceName, path, corev1.ResourceCPU, corev1.ResourceMemory)...)
		errs = append(errs, oneOf(p.RestartPolicy, path, corev1.NotRequired, corev1.RestartContainer)...)
		if restart == corev1.RestartPolicyNever && p.RestartPolicy != corev1.NotRequired {
			errs = append(errs, field.Invalid(path, p.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))
		}
	}
	return errs
}
