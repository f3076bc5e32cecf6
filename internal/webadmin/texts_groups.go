package webadmin

// groupTexts are those of groups.
func groupTexts() map[string]words {
	return map[string]words{
		"nav.groups": {"Groups", "Группы"},

		"groups.new":                {"New group", "Новая группа"},
		"groups.create":             {"Create group", "Создать группу"},
		"groups.name":               {"Name", "Название"},
		"groups.name.hint":          {"Such as a team, a tenant or a shift.", "Например, отдел, арендатор или смена."},
		"groups.rename":             {"Rename %s", "Переименовать: %s"},
		"groups.rename.action":      {"Rename", "Переименовать"},
		"groups.search":             {"Find by name", "Название"},
		"groups.none_found":         {"Nothing matches “%s”", "По запросу «%s» ничего нет"},
		"groups.none_found.hint":    {"Try a part of the name.", "Попробуйте часть названия."},
		"groups.none":               {"No groups yet", "Групп пока нет"},
		"groups.none.hint":          {"Let a group through a gate once, and whoever joins it may pass.", "Откройте проход группе один раз — и его получит каждый, кто в неё войдёт."},
		"groups.delete.action":      {"Delete", "Удалить"},
		"groups.delete.title":       {"Delete %s?", "Удалить: %s?"},
		"groups.delete.lead":        {"Its members lose what they have through this group alone.", "Участники потеряют то, что им открыто только через эту группу."},
		"groups.delete.members":     {"%s person leaves the group.|%s people leave the group.", "Из группы выйдет %s человек.|Из группы выйдут %s человека.|Из группы выйдет %s человек."},
		"groups.delete.permissions": {"%s permission goes with it.|%s permissions go with it.", "Вместе с ней исчезнет %s разрешение.|Вместе с ней исчезнут %s разрешения.|Вместе с ней исчезнет %s разрешений."},
		"groups.delete.stay":        {"The people themselves, their own permissions and all events stay.", "Сами люди, их личные разрешения и все события останутся."},
		"groups.delete.verb":        {"Delete the group", "Удалить группу"},

		"group.members":     {"Members", "Участники"},
		"group.who":         {"Find somebody to add", "Кого добавить"},
		"group.is_in":       {"in the group", "в группе"},
		"group.remove":      {"Remove", "Убрать"},
		"group.nobody":      {"Nobody is in this group yet", "В группе пока никого нет"},
		"group.nobody.hint": {"Find people above, or paste a list of them.", "Найдите людей выше или вставьте список."},
		"group.where":       {"Where may they go?", "Куда открыт проход?"},
		"group.nowhere":     {"Nowhere yet", "Пока никуда"},
		"group.always":      {"at all times", "всегда"},
		"group.dated":       {"for a time", "на срок"},

		"paste.action":    {"Paste a list", "Вставить список"},
		"paste.title":     {"Add a list of people to %s", "Добавить список людей: %s"},
		"paste.lead":      {"You see whom each line means before anything is changed.", "Прежде чем что-то изменится, вы увидите, кого означает каждая строка."},
		"paste.list":      {"People", "Люди"},
		"paste.again":     {"The list, to mend and look at again", "Список: исправьте и проверьте снова"},
		"paste.hint":      {"User names, e-mail addresses or full names, one a line. Commas and semicolons separate as well.", "Имена пользователей, адреса почты или полные имена, по одному в строке. Разделять можно и запятыми, и точками с запятой."},
		"paste.look":      {"Look at the list", "Проверить список"},
		"paste.too_many":  {"The list is too long. Paste at most %s lines at a time.", "Список слишком длинный. Вставляйте не больше %s строк за раз."},
		"paste.found":     {"%s person will be added|%s people will be added", "Будет добавлен %s человек|Будут добавлены %s человека|Будет добавлено %s человек"},
		"paste.nobody":    {"Nobody will be added", "Никто не будет добавлен"},
		"paste.others":    {"%s line adds nobody|%s lines add nobody", "%s строка никого не добавит|%s строки никого не добавят|%s строк никого не добавят"},
		"paste.line":      {"line %s", "строка %s"},
		"paste.twice":     {"named above already", "уже указан выше"},
		"paste.unknown":   {"nobody is called so", "никого с таким именем нет"},
		"paste.ambiguous": {"several people; write the user name:", "подходит несколько человек; укажите имя пользователя:"},
		"paste.add":       {"Add %s person|Add %s people", "Добавить: %s человек|Добавить: %s человека|Добавить: %s человек"},

		"flash.group_created": {"%s is created. Now add people, and gates.", "Создано: %s. Теперь добавьте людей и точки доступа."},
		"flash.group_deleted": {"%s is deleted.", "Удалено: %s."},
	}
}
