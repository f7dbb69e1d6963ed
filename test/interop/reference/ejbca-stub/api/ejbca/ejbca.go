// Package ejbca has the names that one plugin of the reference server mentions. The module they come from is not
// to be had from the Go module proxy. No test configures that plugin; whoever calls in here gets an error.
package ejbca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

var errAbsent = errors.New("built without the EJBCA client")

type (
	Authenticator                     interface{ GetHTTPClient() (*http.Client, error) }
	MTLSAuthenticatorBuilder          struct{}
	Configuration                     struct{ Host string }
	APIClient                         struct{ V1CertificateApi *V1CertificateApiService }
	V1CertificateApiService           struct{}
	EnrollCertificateRestRequest      struct{}
	CertificateRestResponse           struct{ CertificateChain []string }
	GenericOpenAPIError               struct{}
	ApiEnrollPkcs10CertificateRequest struct{}
)

func NewMTLSAuthenticatorBuilder() *MTLSAuthenticatorBuilder { return new(MTLSAuthenticatorBuilder) }
func NewConfiguration() *Configuration                       { return new(Configuration) }
func NewAPIClient(*Configuration) (*APIClient, error)        { return nil, errAbsent }
func NewEnrollCertificateRestRequest() *EnrollCertificateRestRequest {
	return new(EnrollCertificateRestRequest)
}
func (*Configuration) SetAuthenticator(Authenticator)                    {}
func (*MTLSAuthenticatorBuilder) Build() (Authenticator, error)          { return nil, errAbsent }
func (*GenericOpenAPIError) Error() string                               { return errAbsent.Error() }
func (*GenericOpenAPIError) Body() []byte                                { return nil }
func (*CertificateRestResponse) GetResponseFormat() string               { return "" }
func (*CertificateRestResponse) GetCertificate() string                  { return "" }
func (*EnrollCertificateRestRequest) SetUsername(string)                 {}
func (*EnrollCertificateRestRequest) SetPassword(string)                 {}
func (*EnrollCertificateRestRequest) SetCertificateRequest(string)       {}
func (*EnrollCertificateRestRequest) SetCertificateAuthorityName(string) {}
func (*EnrollCertificateRestRequest) SetCertificateProfileName(string)   {}
func (*EnrollCertificateRestRequest) SetEndEntityProfileName(string)     {}
func (*EnrollCertificateRestRequest) SetIncludeChain(bool)               {}
func (*EnrollCertificateRestRequest) SetAccountBindingId(string)         {}

func (b *MTLSAuthenticatorBuilder) WithClientCertificate(*tls.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

func (b *MTLSAuthenticatorBuilder) WithCaCertificates([]*x509.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

func (*V1CertificateApiService) EnrollPkcs10Certificate(context.Context) ApiEnrollPkcs10CertificateRequest {
	return ApiEnrollPkcs10CertificateRequest{}
}

func (r ApiEnrollPkcs10CertificateRequest) EnrollCertificateRestRequest(EnrollCertificateRestRequest) ApiEnrollPkcs10CertificateRequest {
	return r
}

func (ApiEnrollPkcs10CertificateRequest) Execute() (*CertificateRestResponse, *http.Response, error) {
	return nil, nil, errAbsent
}
