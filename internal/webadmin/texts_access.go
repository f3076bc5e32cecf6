package webadmin

// accessTexts are those of the matrix of groups and gates.
func accessTexts() map[string]words {
	return map[string]words{
		"nav.access": {"Access", "Доступ"},

		"cell.allowed":   {"allowed", "разрешено"},
		"cell.suspended": {"suspended", "приостановлено"},
		"cell.none":      {"none", "нет"},
		"cell.mixed":     {"mixed", "смешанно"},

		"access.lead":            {"Which group may pass which gate.", "Какая группа через какие точки проходит."},
		"access.filter":          {"Filter the table", "Отбор в таблице"},
		"access.groups":          {"Part of a group’s name", "Часть названия группы"},
		"access.gates":           {"Part of a gate’s name or place", "Часть названия или места точки"},
		"access.table":           {"Groups and gates", "Группы и точки доступа"},
		"access.keys":            {"Click a cell, or go there by the arrow keys and press the space bar: none, allowed, suspended.", "Щёлкните ячейку или перейдите к ней стрелками и нажмите пробел: нет, разрешено, приостановлено."},
		"access.noscript":        {"Choose a group or a gate to change what it may.", "Чтобы изменить доступ, выберите группу или точку."},
		"access.choose":          {"Choose a group or a gate.", "Выберите группу или точку."},
		"access.mixed.legend":    {"mixed: there are permissions with dates as well", "смешанно: есть и разрешения со сроком"},
		"access.mixed.stop":      {"mixed. There are permissions with dates as well, which the table leaves alone.", "смешанно. Здесь есть и разрешения со сроком, таблица их не меняет."},
		"access.mixed.look":      {"Look closer", "Подробнее"},
		"access.undo":            {"Undo", "Отменить"},
		"access.gone":            {"Not saved: this group or this gate is deleted. Load the page again.", "Не сохранено: этой группы или точки больше нет. Обновите страницу."},
		"access.failed":          {"Not saved: the server cannot be reached. Try again.", "Не сохранено: сервер недоступен. Попробуйте ещё раз."},
		"access.no_groups":       {"No groups yet", "Групп пока нет"},
		"access.no_groups.hint":  {"A group is people who may pass the same gates.", "Группа — люди, которым открыты одни и те же точки."},
		"access.no_gates":        {"No gates yet", "Точек доступа пока нет"},
		"access.no_gates.hint":   {"Add the first gate, then say here who may pass it.", "Добавьте первую точку, а здесь укажите, кому её открыть."},
		"access.to_groups":       {"To the groups", "К группам"},
		"access.to_gates":        {"To the gates", "К точкам доступа"},
		"access.none_found":      {"Nothing matches", "Ничего не найдено"},
		"access.none_found.hint": {"Try a shorter part of the name.", "Попробуйте более короткую часть названия."},
		"access.groups.first":    {"First groups", "Первые группы"},
		"access.groups.next":     {"Next groups", "Следующие группы"},
		"access.gates.first":     {"First gates", "Первые точки"},
		"access.gates.next":      {"Next gates", "Следующие точки"},

		"cells.group":      {"Which gates this group may pass", "Через какие точки проходит группа"},
		"cells.gate":       {"Which groups may pass this gate", "Какие группы проходят через точку"},
		"cells.to_group":   {"The group", "К группе"},
		"cells.to_gate":    {"The gate", "К точке"},
		"cells.dated":      {"Besides, %s permission with dates, which stays as it is.|Besides, %s permissions with dates, which stay as they are.", "Кроме того, %s разрешение со сроком, оно не изменится.|Кроме того, %s разрешения со сроком, они не изменятся.|Кроме того, %s разрешений со сроком, они не изменятся."},
		"cells.dated.look": {"See them at the gate", "Посмотреть на странице точки"},

		"flash.cell.allowed":   {"Saved: %s may pass %s.", "Сохранено: %s — проход открыт, %s."},
		"flash.cell.suspended": {"Saved: %s is suspended at %s.", "Сохранено: %s — проход приостановлен, %s."},
		"flash.cell.none":      {"Saved: %s has no permission at %s.", "Сохранено: %s — разрешения нет, %s."},
		"flash.cell.changed":   {"Not saved: somebody else changed %s at %s meanwhile. It is %s now.", "Не сохранено: доступ успели изменить: %s, %s. Теперь: %s."},
	}
}
