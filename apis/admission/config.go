package admission

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
)

// ReadConfig reads an AdmissionConfiguration (apiserver.config.k8s.io) from a
// file; with "", no plugin has a configuration.
func ReadConfig(file string) (admission.ConfigProvider, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return admission.ReadAdmissionConfiguration(Names(), file, scheme)
}

// elsewhere are plugins of upstream's that guard kinds which are not stable yet.
// They may be named, and have nothing to do here.
func elsewhere() []string {
	return []string{"ClusterTrustBundleAttest", "JobValidation", "NodeDeclaredFeatureValidator", "PodGroupProtection", "PodGroupWorkloadExists"}
}

// CheckNames refuses names of plugins that there are not.
func CheckNames(names []string) error {
	all := Names()
	for _, n := range names {
		if !slices.Contains(all, n) && !slices.Contains(elsewhere(), n) {
			return fmt.Errorf("plugin %q is unknown: must be of %s", n, strings.Join(all, ", "))
		}
	}
	return nil
}
