-- What Meta sends along with a call: of the link or button it was placed by, and of whoever answered it. Personal data.
ALTER TABLE calls ADD COLUMN deeplink_payload TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN cta_payload TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN biz_opaque_callback_data TEXT NOT NULL DEFAULT '';
