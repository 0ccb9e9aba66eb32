create role sogo login password 'sogo';
create database sogo owner sogo encoding 'UTF8' template template0;
\connect sogo
set role sogo;
create table accounts (c_uid text primary key, c_name text, c_password text, c_cn text, mail text, domain text);
insert into accounts values
    ('alice', 'alice', 'alicepw', 'Alice Example', 'alice@lab.test', 'lab.test'),
    ('bob', 'bob', 'bobpw', 'Bob Example', 'bob@lab.test', 'lab.test'),
    ('carol', 'carol', 'carolpw', 'Carol Example', 'carol@lab.test', 'lab.test');
