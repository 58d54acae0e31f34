package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxToken bounds a token server's answer; a token must fit into a header.
const maxToken = 128 << 10

// basic returns what HTTP's basic authentication shows.
func basic(cred Credential) (string, error) {
	if cred.Username == "" || cred.Password == "" {
		return "", errNoCredentials
	}
	return base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password)), nil
}

// token gets a token from the server that a challenge names, as the
// [distribution project] describes it: with the user's password, with none, or
// for the refresh token that a login left.
//
// [distribution project]: https://distribution.github.io/distribution/spec/auth/token/
func (s *signIn) token(ctx context.Context, ch challenge, cred Credential) (string, error) {
	realm, err := url.Parse(ch.params["realm"])
	if err != nil {
		return "", errors.New("the registry's token server (realm) is no URL")
	}
	if err := checkRealm(ctx, realm, s.at); err != nil {
		return "", err
	}
	req, err := s.tokenRequest(ctx, realm, ch.params["service"], cred)
	if err != nil {
		return "", err
	}
	h := *s.c.http
	h.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if err := checkRealm(ctx, req.URL, s.at); err != nil {
			return fmt.Errorf("redirect: %w", err)
		}
		if req.Body != nil && req.Body != http.NoBody && !sameOrigin(via[0].URL, req.URL) {
			return errors.New("the token server redirects to another host, which would get the refresh token")
		}
		return checkRedirect(req, via)
	}
	resp, err := (&client{e: s.c.e, http: &h, agent: s.c.agent}).send(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", failure(resp)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil {
		return "", fmt.Errorf("the token server's answer: %w", err)
	}
	if answer.AccessToken != "" {
		return answer.AccessToken, nil
	}
	if answer.Token == "" {
		return "", errors.New("the token server's answer has no token")
	}
	return answer.Token, nil
}

func (s *signIn) tokenRequest(ctx context.Context, realm *url.URL, service string, cred Credential) (*http.Request, error) {
	if cred.IdentityToken != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {cred.IdentityToken},
			"service": {service}, "client_id": {"ctor"}, "scope": {strings.Join(s.scopes, " ")},
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return nil, err
	}
	if cred.Username != "" || cred.Password != "" {
		req.SetBasicAuth(cred.Username, cred.Password)
	}
	q := req.URL.Query()
	if service != "" {
		q.Set("service", service)
	}
	for _, scope := range s.scopes {
		q.Add("scope", scope)
	}
	req.URL.RawQuery = q.Encode()
	return req, nil
}
