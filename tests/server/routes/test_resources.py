from tests.server.stored import add_avatar

PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
PREFIX = PREFIXES[0]


class TestProjects:
    def test_a_project_is_created_and_read_back(self, api, make_account):
        """Under both prefixes a new project is returned with its fields, its name folded, and can be read."""
        account = make_account()
        for prefix in PREFIXES:
            body = {"name": "  My \n avatars ", "description": "d" * 500, "unknown": 1}
            created = api.client.post(f"{prefix}/projects", json=body, headers=account.headers)
            assert created.status_code == 200
            assert created.json().keys() == {"message", "project"}
            project = created.json()["project"]
            assert project["name"] == "My avatars"
            assert project["description"] == "d" * 500
            assert project["userId"] == account.user_id
            assert project["avatars"] == []
            assert project["createdAt"].endswith("Z")
            assert project["updatedAt"].endswith("Z")
            for each in PREFIXES:
                read = api.client.get(f"{each}/projects/{project['id']}", headers=account.headers)
                assert read.json() == {"project": project}

    def test_projects_are_listed_newest_first_and_only_ones_own(self, api, make_account):
        """A list contains all of the caller's projects, newest first, and no other user's."""
        account, other = make_account(), make_account()
        created = []
        for name in ("one", "two", "three"):
            answer = api.client.post(f"{PREFIX}/projects", json={"name": name}, headers=account.headers)
            created.append(answer.json()["project"]["id"])
        listed = api.client.get(f"{PREFIX}/projects", headers=account.headers).json()["projects"]
        assert [project["id"] for project in listed] == [*reversed(created), account.project_id]
        theirs = api.client.get(f"{PREFIX}/projects", headers=other.headers).json()["projects"]
        assert [project["id"] for project in theirs] == [other.project_id]

    def test_a_project_shows_its_avatars_newest_first(self, api, uow, make_account):
        """Both the list and the single project contain the avatars, newest first."""
        account = make_account()
        older, newer = add_avatar(uow, account), add_avatar(uow, account)
        read = api.client.get(f"{PREFIX}/projects/{account.project_id}", headers=account.headers).json()
        listed = api.client.get(f"{PREFIX}/projects", headers=account.headers).json()
        assert [avatar["id"] for avatar in read["project"]["avatars"]] == [newer.id, older.id]
        assert listed["projects"] == [read["project"]]

    def test_a_bad_project_is_refused(self, api, make_account, subtests):
        """A name or description that breaks its rule is refused with the field's name."""
        account = make_account()
        bad = {"name": ["", "  ", "n" * 101, 1, None, "a\0"], "description": ["d" * 501, 1, "a\0"]}
        for field, value in ((field, value) for field, values in bad.items() for value in values):
            with subtests.test(field=field, value=repr(value)[:20]):
                body = {"name": "Mine"} | {field: value}
                answer = api.client.post(f"{PREFIX}/projects", json=body, headers=account.headers)
                api.refused(answer, 400, "VALIDATION_ERROR", field)
        listed = api.client.get(f"{PREFIX}/projects", headers=account.headers).json()["projects"]
        assert len(listed) == 1


class TestAvatars:
    def test_an_avatar_has_every_field_of_the_contract(self, api, uow, make_account):
        """An avatar is returned with all of the contract's fields; missing values are null."""
        account = make_account()
        avatar = add_avatar(uow, account)
        read = api.client.get(f"{PREFIX}/avatars/{avatar.id}", headers=account.headers).json()["avatar"]
        assert read.keys() == {
            *("id", "userId", "projectId", "name", "baseImageUrl", "thumbnailUrl", "personaName"),
            *("personaAge", "personaPersonality", "personaBackground", "gender", "ageRange", "ethnicity"),
            *("bodyType", "hairStyle", "hairColor", "eyeColor", "skinTone", "style", "sourceType"),
            *("generationPrompt", "seedUsed", "usageCount", "lastUsedAt", "createdAt", "updatedAt"),
            "project",
        }
        assert read["project"] == {"id": account.project_id, "name": "Test"}
        assert read["personaPersonality"] == '["calm"]'
        assert read["seedUsed"] == 2**32 - 1
        assert read["usageCount"] == 0
        assert read["lastUsedAt"] is None
        assert read["baseImageUrl"].startswith("/uploads/avatar-creator/")


class TestOwnership:
    def test_what_belongs_to_another_is_not_found(self, api, uow, make_account, subtests):
        """Another user's project, generation or avatar is answered like one that does not exist."""
        owner, other = make_account(), make_account()
        generation = api.generate(owner).json()["generation"]["id"]
        avatar = add_avatar(uow, owner).id
        for noun, id_ in (("project", owner.project_id), ("generation", generation), ("avatar", avatar)):
            with subtests.test(noun=noun):
                path = f"{PREFIX}/{noun}s/{id_}"
                assert api.client.get(path, headers=owner.headers).status_code == 200
                theirs = api.client.get(path, headers=other.headers)
                none = api.client.get(f"{PREFIX}/{noun}s/none", headers=other.headers)
                error = api.refused(theirs, 404, "RESOURCE_NOT_FOUND")
                assert error == api.refused(none, 404, "RESOURCE_NOT_FOUND")
                assert error["message"] == f"{noun.capitalize()} not found"
