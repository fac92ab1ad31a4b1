package certificates

import (
	"context"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

type csr = certificatesv1.CertificateSigningRequest

// certificateSigningRequest is certificates.k8s.io/v1 CertificateSigningRequest.
// Its spec is written once, with the requester as the server knows them; who
// approves writes conditions through /approval, who signs the certificate
// through /status.
func certificateSigningRequest() *kind.Kind[*csr] {
	return &kind.Kind[*csr]{
		GVK:              certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"),
		Resource:         "certificatesigningrequests",
		ShortNames:       []string{"csr"},
		ClusterScoped:    true,
		New:              func() *csr { return &csr{} },
		NewList:          func() runtime.Object { return &certificatesv1.CertificateSigningRequestList{} },
		ValidateName:     func(string, bool) []string { return nil },
		PrepareForCreate: identify,
		PrepareForUpdate: func(_ context.Context, o, old *csr) {
			o.Spec, o.Status = old.Spec, old.Status
		},
		UpdateValidatesAlone: true,
		Validate: func(_ context.Context, o *csr) field.ErrorList {
			return validate(o, nil)
		},
		ValidateUpdate: func(_ context.Context, o, old *csr) field.ErrorList {
			return validateUpdate(o, old, writer{})
		},
		ResetFields: []string{"spec", "status"},
		Status: &kind.Status[*csr]{
			ResetFields: []string{"spec", "status.conditions"},
			Prepare: func(_ context.Context, o, old *csr) {
				o.Spec = old.Spec
				keepDecisions(o, old)
				stampConditions(o, old, metav1.Now())
			},
			Validate: func(_ context.Context, o, old *csr) field.ErrorList {
				return validateUpdate(o, old, writer{certificate: true})
			},
		},
		Fields: map[string]func(*csr) string{
			"spec.signerName": func(o *csr) string { return o.Spec.SignerName },
		},
		Columns: []kind.Column[*csr]{
			kind.NameColumn[*csr](),
			kind.AgeColumn[*csr](),
			{Name: "SignerName", Description: certificatesv1beta1.CertificateSigningRequestSpec{}.SwaggerDoc()["signerName"], Value: func(o *csr) any {
				if o.Spec.SignerName == "" {
					return "<none>"
				}
				return o.Spec.SignerName
			}},
			{Name: "Requestor", Description: certificatesv1beta1.CertificateSigningRequestSpec{}.SwaggerDoc()["request"], Value: func(o *csr) any { return o.Spec.Username }},
			{Name: "RequestedDuration", Description: certificatesv1beta1.CertificateSigningRequestSpec{}.SwaggerDoc()["expirationSeconds"], Value: func(o *csr) any {
				if o.Spec.ExpirationSeconds == nil {
					return "<none>"
				}
				return duration.HumanDuration(time.Duration(*o.Spec.ExpirationSeconds) * time.Second)
			}},
			{Name: "Condition", Description: certificatesv1beta1.CertificateSigningRequestStatus{}.SwaggerDoc()["conditions"], Value: condition},
		},
		Extend: func(_ *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			return nil, map[string]rest.Storage{"approval": newApproval(r)}, nil
		},
	}
}

// identify writes who asks; nobody can ask for somebody else, or approve by creating.
func identify(ctx context.Context, o *csr) {
	o.Spec.Username, o.Spec.UID, o.Spec.Groups, o.Spec.Extra = "", "", nil, nil
	if u, ok := request.UserFrom(ctx); ok {
		o.Spec.Username, o.Spec.UID, o.Spec.Groups = u.GetName(), u.GetUID(), u.GetGroups()
		for k, v := range u.GetExtra() {
			if o.Spec.Extra == nil {
				o.Spec.Extra = map[string]certificatesv1.ExtraValue{}
			}
			o.Spec.Extra[k] = v
		}
	}
	o.Status = certificatesv1.CertificateSigningRequestStatus{}
}

// condition is "Approved,Issued" and the like.
func condition(o *csr) any {
	has := map[certificatesv1.RequestConditionType]bool{}
	for _, c := range o.Status.Conditions {
		has[c.Type] = true
	}
	s := "Pending"
	switch {
	case has[certificatesv1.CertificateDenied]:
		s = "Denied"
	case has[certificatesv1.CertificateApproved]:
		s = "Approved"
	}
	if has[certificatesv1.CertificateFailed] {
		s += ",Failed"
	}
	if len(o.Status.Certificate) > 0 {
		s += ",Issued"
	}
	return s
}

func of(o *csr, t certificatesv1.RequestConditionType) []int {
	var out []int
	for i, c := range o.Status.Conditions {
		if c.Type == t {
			out = append(out, i)
		}
	}
	return out
}

// keepDecisions takes Approved and Denied back from old, unless some were added
// or removed: that is for validation to refuse.
func keepDecisions(o, old *csr) {
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		was, is := of(old, t), of(o, t)
		if len(was) != len(is) {
			continue
		}
		for i := range is {
			o.Status.Conditions[is[i]] = old.Status.Conditions[was[i]]
		}
	}
}

// stampConditions fills in when conditions were updated and changed.
func stampConditions(o, old *csr, now metav1.Time) {
	for i := range o.Status.Conditions {
		c := &o.Status.Conditions[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		for _, was := range old.Status.Conditions {
			if was.Type == c.Type && was.Status == c.Status && !was.LastTransitionTime.IsZero() {
				c.LastTransitionTime = was.LastTransitionTime
				break
			}
		}
	}
}
