-- Who belonged to an organization before there were roles had made it.
ALTER TABLE members ADD COLUMN role text NOT NULL DEFAULT 'owner';
