create role horde login password 'horde';
create database horde owner horde template template0 encoding 'UTF8';
