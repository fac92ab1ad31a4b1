package core

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxCredentialSpecKiB = 64
	maxDomainName        = 256
	maxUserName          = 104
)

// What Windows accepts as the name of a domain, and refuses in that of a user.
var (
	controlChars  = regexp.MustCompile(`[[:cntrl:]]+`)
	netBIOSDomain = regexp.MustCompile(`^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$`)
	dnsDomain     = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$`)
	userBadChars  = regexp.MustCompile(`["/\\:;|=,\+\*\?<>@\[\]]`)
	userOnlyDots  = regexp.MustCompile(`^[\. ]+$`)
)

func validateWindowsOptions(w *corev1.WindowsSecurityContextOptions, path *field.Path) (errs field.ErrorList) {
	if w == nil {
		return nil
	}
	if n := w.GMSACredentialSpecName; n != nil {
		errs = append(errs, invalidEach(path.Child("gmsaCredentialSpecName"), n, validation.IsDNS1123Subdomain(*n))...)
	}
	if s := w.GMSACredentialSpec; s != nil {
		at := path.Child("gmsaCredentialSpec")
		switch {
		case *s == "":
			errs = append(errs, field.Invalid(at, s, "gmsaCredentialSpec cannot be an empty string"))
		case len(*s) > maxCredentialSpecKiB*1024:
			errs = append(errs, field.Invalid(at, s, fmt.Sprintf("gmsaCredentialSpec size must be under %d KiB", maxCredentialSpecKiB)))
		}
	}
	if w.RunAsUserName != nil {
		errs = append(errs, invalidEach(path.Child("runAsUserName"), w.RunAsUserName, windowsUserProblems(*w.RunAsUserName))...)
	}
	return errs
}

// windowsUserProblems tells what is wrong with a user's name, which may have its
// domain and a backslash before it.
func windowsUserProblems(name string) (msgs []string) {
	switch {
	case name == "":
		return []string{"runAsUserName cannot be an empty string"}
	case controlChars.MatchString(name):
		return []string{"runAsUserName cannot contain control characters"}
	case strings.Count(name, `\`) > 1:
		return []string{"runAsUserName cannot contain more than one backslash"}
	}
	domain, user, found := strings.Cut(name, `\`)
	if !found {
		domain, user = "", name
	}
	if len(domain) >= maxDomainName {
		msgs = append(msgs, fmt.Sprintf("runAsUserName's Domain length must be under %d characters", maxDomainName))
	}
	if found && !netBIOSDomain.MatchString(domain) && !dnsDomain.MatchString(domain) {
		msgs = append(msgs, "runAsUserName's Domain doesn't match the NetBios nor the DNS format")
	}
	if user == "" {
		msgs = append(msgs, "runAsUserName's User cannot be empty")
	} else if len(user) > maxUserName {
		msgs = append(msgs, fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", maxUserName))
	}
	if userOnlyDots.MatchString(user) {
		msgs = append(msgs, "runAsUserName's User cannot contain only periods or spaces")
	}
	if userBadChars.MatchString(user) {
		msgs = append(msgs, `runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`)
	}
	return msgs
}

// validateHostProcess: all of a pod's containers run on the host, and in its
// network, or none does (KEP-1981).
func validateHostProcess(s *corev1.PodSpec, spec *field.Path) (errs field.ErrorList) {
	var pod *bool
	if sc := s.SecurityContext; sc != nil && sc.WindowsOptions != nil {
		pod = sc.WindowsOptions.HostProcess
	}
	all, host := 0, 0
	eachContainer(s, spec, func(c *corev1.Container, at *field.Path) {
		all++
		var own *bool
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			own = c.SecurityContext.WindowsOptions.HostProcess
		}
		if pod != nil && own != nil && *pod != *own {
			errs = append(errs, field.Invalid(at.Child("securityContext", "windowsOptions", "hostProcess"), *own,
				fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *pod)))
		}
		if own != nil && *own || own == nil && pod != nil && *pod {
			host++
		}
	})
	if host == 0 {
		return errs
	}
	if host != all {
		errs = append(errs, field.Invalid(spec, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"))
	}
	if !s.HostNetwork {
		errs = append(errs, field.Invalid(spec.Child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers"))
	}
	return errs
}
