package store

import "context"

// Tenants gives, by name, each tenant that has resources, streams, keys, secrets or tokens, and each that a resource
// of the kind tenant names.
func (s *Store) Tenants(ctx context.Context) ([]string, error) {
	var all []string
	err := s.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			var name string
			err := scan(&name)
			all = append(all, name)
			return err
		}, `SELECT tenant FROM generation UNION SELECT tenant FROM resource UNION SELECT name FROM resource WHERE kind = 'tenant'
			UNION SELECT tenant FROM stream UNION SELECT tenant FROM signing_key UNION SELECT tenant FROM secret UNION SELECT tenant FROM access_token
			ORDER BY 1`)
	})
	return all, err
}
